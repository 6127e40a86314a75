"""Conversations: what the pooler keeps of clients of the 2025-11-25 era, so that any frontend can go on with them."""
