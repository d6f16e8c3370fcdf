"""The scenarios of projects: reading 50 services, bringing 20 up."""

import pathlib


def fifty_services(folder):
    """Lays out a project of 50 services over three files, with variables, anchors and an env file."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    base, override = ["x-common: &common", "  restart: unless-stopped", "  logging: {driver: json-file, options: {max-size: 10m}}", "services:"], ["services:"]
    for number in range(50):
        base += [
            f"  service{number}:",
            "    <<: *common",
            f"    image: registry.example/app{number}:${{TAG:-1.0}}",
            "    environment:",
            *[f"      VARIABLE_{index}: ${{VALUE_{index % 10}:-default{index}}}" for index in range(12)],
            "    env_file: [common.env]",
            f"    ports: ['{10000 + number}:80', '127.0.0.1:{11000 + number}:443']",
            f"    volumes: ['data{number}:/data', './config:/config:ro']",
            "    networks: [front, back]",
            "    healthcheck: {test: ['CMD', 'true'], interval: 10s, retries: 3}",
            "    deploy: {resources: {limits: {cpus: '0.5', memory: 256M}}}",
        ]
        if number:
            base += [f"    depends_on: {{service{number - 1}: {{condition: service_healthy}}}}"]
        override += [f"  service{number}:", "    environment:", f"      VARIABLE_1: overridden{number}", "    labels: {tier: bench}"]
    base += ["volumes:", *[f"  data{number}: {{}}" for number in range(50)], "networks: {front: {}, back: {internal: true}}"]
    (folder / "compose.yaml").write_text("\n".join(base) + "\n")
    (folder / "compose.override.yaml").write_text("\n".join(override) + "\n")
    (folder / ".env").write_text("".join(f"VALUE_{index}=value {index}\n" for index in range(10)))
    (folder / "common.env").write_text("".join(f"SHARED_{index}=shared{index}\n" for index in range(20)))
    (folder / "config").mkdir(exist_ok=True)
    return folder


def twenty_services(folder, image):
    """Lays out a project of 20 small services of one image."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["services:"]
    for number in range(20):
        lines += [
            f"  small{number:02}:",
            f"    image: {image}",
            "    command: ['sh', '-c', 'trap exit TERM; while :; do sleep 1; done']",
            "    init: true",
            f"    environment: {{NUMBER: '{number}'}}",
            f"    networks: [{'front' if number % 2 else 'back'}]",
        ]
        if number >= 10:
            lines += [f"    depends_on: [small{number - 10:02}]"]
    lines += ["networks: {front: {}, back: {}}"]
    (folder / "compose.yaml").write_text("\n".join(lines) + "\n")
    return folder
