"""The adapters under contract: one module each, with `subject(request)`. A new file here joins the suite."""
