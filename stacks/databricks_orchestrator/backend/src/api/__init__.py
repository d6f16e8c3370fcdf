"""The orchestrator's HTTP API: jobs, and the runs that carry them out."""
