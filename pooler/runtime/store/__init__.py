"""What must outlive a caller, and perhaps the pooler: entries that expire, and logs of events, behind one interface."""
