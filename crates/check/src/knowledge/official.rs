//! Official images: their user, the ports they serve, the programs they hold, where they write.
//!
//! From their Dockerfiles (<https://github.com/docker-library/official-images>) and those of their makers. Only what
//! holds for every supported tag of a line is written down.

/// What is known of a line of images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Official {
    /// Names of repositories, without registry.
    pub names: &'static [&'static str],
    /// The user; empty is root.
    pub user: &'static str,
    /// TCP ports it serves by itself; none when it serves what it is told to.
    pub ports: &'static [u16],
    /// Programs it has beside its system's.
    pub programs: &'static [&'static str],
    /// The system that its tags are made on.
    pub system: System,
}

/// What an image is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Debian, unless the tag says `alpine` or `slim`.
    Debian,
    /// Alpine.
    Alpine,
    /// Busybox alone.
    Busybox,
    /// Nothing but the program.
    Nothing,
    /// It depends.
    Unknown,
}

const fn image(names: &'static [&'static str], ports: &'static [u16]) -> Official {
    Official { names, user: "", ports, programs: &[], system: System::Debian }
}

/// The table.
static OFFICIAL: &[Official] = &[
    Official { programs: &["nginx"], ..image(&["nginx"], &[80]) },
    Official { programs: &["nginx"], user: "101", ..image(&["nginxinc/nginx-unprivileged"], &[8080]) },
    Official { programs: &["httpd"], ..image(&["httpd"], &[80]) },
    Official { system: System::Alpine, programs: &["caddy"], ..image(&["caddy"], &[80, 443]) },
    Official { system: System::Alpine, ..image(&["traefik"], &[80]) },
    Official { programs: &["haproxy"], user: "haproxy", ..image(&["haproxy"], &[]) },
    Official { programs: &["node", "npm", "npx", "yarn"], ..image(&["node"], &[]) },
    Official { programs: &["python", "python3", "pip"], ..image(&["python"], &[]) },
    image(&["debian", "ubuntu"], &[]),
    Official { system: System::Alpine, ..image(&["alpine"], &[]) },
    Official { system: System::Busybox, ..image(&["busybox"], &[]) },
    image(&["golang", "rust", "ruby", "php", "openjdk", "eclipse-temurin"], &[]),
    Official {
        programs: &["psql", "pg_isready", "postgres"],
        ..image(&["postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"], &[5432])
    },
    Official { programs: &["mysqladmin", "mysql"], ..image(&["mysql"], &[3306]) },
    Official { programs: &["mariadb", "mariadb-admin", "healthcheck.sh"], ..image(&["mariadb"], &[3306]) },
    Official { programs: &["mongosh"], ..image(&["mongo"], &[27017]) },
    Official { programs: &["redis-cli", "redis-server"], ..image(&["redis", "valkey/valkey"], &[6379]) },
    Official { system: System::Unknown, ..image(&["memcached"], &[11211]) },
    Official { programs: &["rabbitmq-diagnostics", "rabbitmqctl"], ..image(&["rabbitmq"], &[5672]) },
    Official { system: System::Busybox, user: "nobody", ..image(&["prom/prometheus"], &[9090]) },
    Official {
        system: System::Alpine,
        user: "472",
        ..image(&["grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"], &[3000])
    },
    Official { system: System::Busybox, user: "nobody", ..image(&["prom/alertmanager"], &[9093]) },
    Official { system: System::Busybox, user: "nobody", ..image(&["prom/node-exporter"], &[9100]) },
    Official {
        system: System::Busybox,
        user: "nobody",
        ..image(&["prometheuscommunity/postgres-exporter"], &[9187])
    },
    Official { system: System::Nothing, ..image(&["nginx/nginx-prometheus-exporter"], &[9113]) },
    Official { system: System::Unknown, ..image(&["oliver006/redis_exporter"], &[9121]) },
    Official { system: System::Unknown, ..image(&["gcr.io/cadvisor/cadvisor"], &[8080]) },
    Official { system: System::Alpine, ..image(&["adminer"], &[8080]) },
];

/// What of an image's name matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    /// The repository, without Docker's registry and `library/`.
    pub repository: &'a str,
    /// The tag; empty when none is written.
    pub tag: &'a str,
}

/// Splits an image's name.
pub(crate) fn named(image: &str) -> Named<'_> {
    let image = image.split('@').next().unwrap_or(image);
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, ""),
    };
    let repository = ["docker.io/", "index.docker.io/", "registry-1.docker.io/", "library/"]
        .iter()
        .fold(repository, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
    Named { repository, tag }
}

/// Returns what is known of an image.
pub(crate) fn of(image: &str) -> Option<&'static Official> {
    let named = named(image);
    OFFICIAL.iter().find(|official| official.names.contains(&named.repository))
}

/// Whether an image has a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    /// Every tag of the line has it.
    Yes,
    /// None has.
    No,
    /// Some have.
    Some,
}

/// Says whether an image has a program; `None` when nothing is known.
pub(crate) fn has(image: &str, program: &str) -> Option<Has> {
    let official = of(image)?;
    let named = named(image);
    if official.programs.contains(&program) {
        return Some(Has::Yes);
    }
    let alpine = named.tag.contains("alpine") || official.system == System::Alpine;
    let downloader = matches!(program, "curl" | "wget");
    if matches!(program, "sh" | "test" | "true" | "echo" | "cat" | "ls" | "grep") {
        return Some(if official.system == System::Nothing { Has::No } else { Has::Yes });
    }
    if !downloader && program != "nc" && program != "bash" {
        return None;
    }
    Some(match official.system {
        _ if alpine => match program {
            "wget" | "nc" => Has::Yes,
            // nginx brings it in the full variants; which one a tag without a version is, may change.
            "curl" if official.names[0] == "nginx" && named.tag.contains("slim") => Has::No,
            "curl" if official.names[0] == "nginx" && named.tag.starts_with(|c: char| c.is_ascii_digit()) => {
                Has::Yes
            }
            "curl" if matches!(official.names[0], "nginx" | "traefik" | "grafana/grafana") => Has::Some,
            "curl" if official.names[0] == "caddy" => Has::Some,
            "bash" if official.names[0] == "postgres" => Has::Yes,
            "bash" if matches!(official.names[0], "alpine" | "node" | "python" | "nginx" | "redis") => {
                Has::No
            }
            "curl" if matches!(official.names[0], "alpine" | "node" | "python" | "redis" | "postgres") => {
                Has::No
            }
            _ => return None,
        },
        System::Busybox => match program {
            "wget" | "nc" => Has::Yes,
            _ => Has::No,
        },
        System::Nothing => Has::No,
        System::Debian => match (official.names[0], program) {
            (_, "bash") | ("nginx", "curl") => Has::Yes,
            ("python" | "node" | "debian" | "ubuntu", "curl" | "wget") => {
                // The full images of languages hold both, made on `buildpack-deps`.
                let slim = named.tag.contains("slim") || matches!(official.names[0], "debian" | "ubuntu");
                if slim { Has::No } else { Has::Yes }
            }
            ("nginx" | "mysql" | "mariadb", "wget") | ("httpd" | "postgres" | "redis", "curl" | "wget") => {
                Has::No
            }
            _ => return None,
        },
        System::Alpine | System::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split() {
        let table = [
            ("nginx", "nginx", ""),
            ("docker.io/library/nginx:alpine", "nginx", "alpine"),
            ("localhost:5000/nginx", "localhost:5000/nginx", ""),
            ("prom/prometheus:v3@sha256:0", "prom/prometheus", "v3"),
        ];
        for (image, repository, tag) in table {
            assert_eq!(named(image), Named { repository, tag });
        }
    }

    #[test]
    fn programs() {
        let table = [
            ("node:22-alpine", "curl", Some(Has::No)),
            ("node:22-alpine", "wget", Some(Has::Yes)),
            ("node:22", "curl", Some(Has::Yes)),
            ("node:22-slim", "curl", Some(Has::No)),
            ("nginx:alpine", "curl", Some(Has::Some)),
            ("python:3.13-slim", "curl", Some(Has::No)),
            ("somebody/else", "curl", None),
            ("prom/prometheus", "curl", Some(Has::No)),
            ("postgres:15-alpine", "pg_isready", Some(Has::Yes)),
            ("nginx/nginx-prometheus-exporter:1.4", "sh", Some(Has::No)),
        ];
        for (image, program, expected) in table {
            assert_eq!(has(image, program), expected, "{image} {program}");
        }
    }
}
