"""gunicorn's settings out of the environment (an exec-form CMD expands no variables)."""

import os
import shutil
from pathlib import Path

from prometheus_client import multiprocess

from api.settings import server_settings_or_exit

_settings = server_settings_or_exit()

bind = "0.0.0.0:8000"
workers = _settings.workers
worker_class = "uvicorn_worker.UvicornWorker"  # FastAPI speaks ASGI; gevent would call it as WSGI
worker_connections = _settings.worker_connections
max_requests = _settings.max_requests
max_requests_jitter = _settings.max_requests_jitter
graceful_timeout = _settings.graceful_timeout
loglevel = _settings.log_level
accesslog = "-"
errorlog = "-"
forwarded_allow_ips = "*"  # only the reverse proxy can reach this port
worker_tmp_dir = "/dev/shm"  # heartbeats must not wait for a disk
control_socket_disable = True  # nobody uses it, and it would be written to the home directory
preload_app = True  # a bad setting stops the master at once instead of looping over dying workers

_metrics = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if _metrics:
    # Files of an earlier start would be added to the sums.
    shutil.rmtree(_metrics, ignore_errors=True)
    Path(_metrics).mkdir(parents=True)


def child_exit(server, worker):
    """Lets the sums forget the gauges of a worker that has ended."""
    if _metrics:
        multiprocess.mark_process_dead(worker.pid)
