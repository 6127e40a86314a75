"""The pooler's HTTP side: for people, monitors and load balancers. It never carries a call."""
