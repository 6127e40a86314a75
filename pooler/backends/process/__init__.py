"""Any program as a backend: one child process per connection, newline-delimited JSON-RPC 2.0 on its pipes."""
