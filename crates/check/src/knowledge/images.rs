//! Well-known images: what they are for, where they listen and keep data, how they are probed.
//!
//! Source: the images' pages on Docker Hub and the entry points in their repositories.

use coracle_oci::Reference;

use super::support::is_repository;

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Keeps the data that a project is about.
    Database,
    /// Keeps what can be made again.
    Cache,
    /// Passes messages on.
    Queue,
    /// Finds documents.
    Search,
    /// Keeps objects.
    Storage,
    /// Takes requests from outside.
    Proxy,
    /// Collects measurements.
    Metrics,
    /// Shows and administers.
    Console,
    /// Turns measurements of something into those of Prometheus.
    Exporter,
    /// A language or a distribution that applications are built on.
    Base,
}

/// A well-known image.
#[derive(Debug)]
pub(crate) struct KnownImage {
    /// What people call it.
    pub(crate) name: &'static str,
    repositories: &'static [&'static str],
    pub(crate) role: Role,
    /// Ports on which it serves what it is for.
    pub(crate) ports: &'static [u16],
    /// Ports for measurements and administration.
    pub(crate) admin_ports: &'static [u16],
    /// Where it keeps its data.
    pub(crate) data: &'static [&'static str],
    /// A health check that the image has the program for, as a list.
    pub(crate) probe: Option<&'static str>,
    /// Whether its processes are root all their life.
    pub(crate) stays_root: bool,
    /// Programs of its that are the server, when it has others; a command that begins otherwise is a tool's.
    pub(crate) servers: &'static [&'static str],
    /// Whether some of its releases bring a health check.
    pub(crate) may_probe: bool,
}

const PLAIN: KnownImage = KnownImage {
    name: "",
    repositories: &[],
    role: Role::Base,
    ports: &[],
    admin_ports: &[],
    data: &[],
    probe: None,
    stays_root: false,
    servers: &[],
    may_probe: false,
};

static IMAGES: &[KnownImage] = &[
    KnownImage {
        name: "PostgreSQL",
        repositories: &[
            "library/postgres",
            "postgis/postgis",
            "timescale/timescaledb",
            "pgvector/pgvector",
            "ankane/pgvector",
        ],
        role: Role::Database,
        ports: &[5432],
        data: &["/var/lib/postgresql/data", "/var/lib/postgresql"],
        probe: Some(r#"["CMD-SHELL", 'pg_isready -q -h 127.0.0.1 -U "$$POSTGRES_USER"']"#),
        servers: &["postgres"],
        ..PLAIN
    },
    KnownImage {
        name: "MySQL",
        repositories: &["library/mysql"],
        role: Role::Database,
        ports: &[3306],
        data: &["/var/lib/mysql"],
        probe: Some(r#"["CMD", "mysqladmin", "ping", "-h", "127.0.0.1"]"#),
        servers: &["mysqld"],
        ..PLAIN
    },
    KnownImage {
        name: "MariaDB",
        repositories: &["library/mariadb"],
        role: Role::Database,
        ports: &[3306],
        data: &["/var/lib/mysql"],
        probe: Some(r#"["CMD", "healthcheck.sh", "--connect", "--innodb_initialized"]"#),
        servers: &["mariadbd", "mysqld"],
        ..PLAIN
    },
    KnownImage {
        name: "MongoDB",
        repositories: &["library/mongo"],
        role: Role::Database,
        ports: &[27017],
        data: &["/data/db"],
        probe: Some(r#"["CMD", "mongosh", "--quiet", "--eval", "db.adminCommand('ping').ok"]"#),
        servers: &["mongod", "mongos"],
        ..PLAIN
    },
    KnownImage {
        name: "Redis",
        repositories: &["library/redis", "redis/redis-stack-server", "redis/redis-stack"],
        role: Role::Cache,
        ports: &[6379],
        data: &["/data"],
        probe: Some(r#"["CMD", "redis-cli", "ping"]"#),
        servers: &["redis-server", "redis-stack-server"],
        ..PLAIN
    },
    KnownImage {
        name: "Valkey",
        repositories: &["valkey/valkey"],
        role: Role::Cache,
        ports: &[6379],
        data: &["/data"],
        probe: Some(r#"["CMD", "valkey-cli", "ping"]"#),
        servers: &["valkey-server"],
        ..PLAIN
    },
    KnownImage {
        name: "Memcached",
        repositories: &["library/memcached"],
        role: Role::Cache,
        ports: &[11211],
        servers: &["memcached"],
        ..PLAIN
    },
    KnownImage {
        name: "RabbitMQ",
        repositories: &["library/rabbitmq"],
        role: Role::Queue,
        ports: &[5672, 5671],
        admin_ports: &[15672, 15692],
        data: &["/var/lib/rabbitmq"],
        probe: Some(r#"["CMD", "rabbitmq-diagnostics", "-q", "ping"]"#),
        servers: &["rabbitmq-server"],
        ..PLAIN
    },
    KnownImage {
        name: "Kafka",
        repositories: &["apache/kafka", "confluentinc/cp-kafka"],
        role: Role::Queue,
        ports: &[9092],
        ..PLAIN
    },
    KnownImage {
        name: "ZooKeeper",
        repositories: &["library/zookeeper", "confluentinc/cp-zookeeper"],
        role: Role::Queue,
        ports: &[2181],
        ..PLAIN
    },
    KnownImage {
        name: "Elasticsearch",
        repositories: &["library/elasticsearch", "elasticsearch/elasticsearch"],
        role: Role::Search,
        ports: &[9200, 9300],
        data: &["/usr/share/elasticsearch/data"],
        probe: Some(r#"["CMD-SHELL", "curl -fsS http://127.0.0.1:9200/_cluster/health"]"#),
        servers: &["elasticsearch", "eswrapper"],
        ..PLAIN
    },
    KnownImage {
        name: "OpenSearch",
        repositories: &["opensearchproject/opensearch"],
        role: Role::Search,
        ports: &[9200],
        data: &["/usr/share/opensearch/data"],
        ..PLAIN
    },
    KnownImage {
        name: "InfluxDB",
        repositories: &["library/influxdb"],
        role: Role::Database,
        ports: &[8086],
        data: &["/var/lib/influxdb2", "/var/lib/influxdb", "/var/lib/influxdb3"],
        servers: &["influxd", "influxdb3"],
        ..PLAIN
    },
    KnownImage {
        name: "ClickHouse",
        repositories: &["clickhouse/clickhouse-server"],
        role: Role::Database,
        ports: &[8123, 9000],
        data: &["/var/lib/clickhouse"],
        ..PLAIN
    },
    KnownImage {
        name: "Neo4j",
        repositories: &["library/neo4j"],
        role: Role::Database,
        ports: &[7474, 7687],
        data: &["/data"],
        servers: &["neo4j"],
        ..PLAIN
    },
    KnownImage {
        name: "Cassandra",
        repositories: &["library/cassandra"],
        role: Role::Database,
        ports: &[9042],
        data: &["/var/lib/cassandra"],
        ..PLAIN
    },
    KnownImage {
        name: "MinIO",
        repositories: &["minio/minio"],
        role: Role::Storage,
        ports: &[9000],
        admin_ports: &[9001],
        data: &["/data"],
        may_probe: true,
        servers: &["minio", "server"],
        ..PLAIN
    },
    KnownImage {
        name: "nginx",
        repositories: &["library/nginx", "nginxinc/nginx-unprivileged"],
        role: Role::Proxy,
        ports: &[80, 443, 8080, 8443],
        probe: Some(
            r#"["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1/ || curl -fsS http://127.0.0.1/"]"#,
        ),
        servers: &["nginx", "nginx-debug"],
        ..PLAIN
    },
    KnownImage {
        name: "Apache httpd",
        repositories: &["library/httpd"],
        role: Role::Proxy,
        ports: &[80, 443],
        servers: &["httpd", "httpd-foreground"],
        ..PLAIN
    },
    KnownImage {
        name: "Traefik",
        repositories: &["library/traefik"],
        role: Role::Proxy,
        ports: &[80, 443],
        admin_ports: &[8080],
        probe: Some(r#"["CMD", "traefik", "healthcheck", "--ping"]"#),
        servers: &["traefik"],
        ..PLAIN
    },
    KnownImage {
        name: "Caddy",
        repositories: &["library/caddy"],
        role: Role::Proxy,
        ports: &[80, 443],
        admin_ports: &[2019],
        data: &["/data"],
        servers: &["caddy"],
        ..PLAIN
    },
    KnownImage {
        name: "HAProxy",
        repositories: &["library/haproxy"],
        role: Role::Proxy,
        ports: &[80, 443],
        servers: &["haproxy"],
        ..PLAIN
    },
    KnownImage {
        name: "Prometheus",
        repositories: &["prom/prometheus"],
        role: Role::Metrics,
        admin_ports: &[9090],
        data: &["/prometheus"],
        probe: Some(r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/ready"]"#),
        servers: &["prometheus"],
        ..PLAIN
    },
    KnownImage {
        name: "Alertmanager",
        repositories: &["prom/alertmanager"],
        role: Role::Metrics,
        admin_ports: &[9093],
        data: &["/alertmanager"],
        probe: Some(r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9093/-/ready"]"#),
        ..PLAIN
    },
    KnownImage {
        name: "Grafana",
        repositories: &["grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"],
        role: Role::Metrics,
        admin_ports: &[3000],
        data: &["/var/lib/grafana"],
        probe: Some(r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3000/api/health"]"#),
        ..PLAIN
    },
    KnownImage {
        name: "Loki",
        repositories: &["grafana/loki"],
        role: Role::Metrics,
        admin_ports: &[3100],
        data: &["/loki"],
        ..PLAIN
    },
    KnownImage {
        name: "an exporter of measurements",
        repositories: &[
            "prom/node-exporter",
            "prometheuscommunity/postgres-exporter",
            "nginx/nginx-prometheus-exporter",
            "oliver006/redis_exporter",
            "prom/mysqld-exporter",
            "cadvisor/cadvisor",
        ],
        role: Role::Exporter,
        admin_ports: &[9100, 9187, 9113, 9121, 9104, 8080],
        may_probe: true,
        ..PLAIN
    },
    KnownImage {
        name: "Kibana",
        repositories: &["library/kibana", "kibana/kibana"],
        role: Role::Console,
        admin_ports: &[5601],
        ..PLAIN
    },
    KnownImage {
        name: "a database console",
        repositories: &[
            "library/adminer",
            "phpmyadmin/phpmyadmin",
            "library/phpmyadmin",
            "dpage/pgadmin4",
            "library/mongo-express",
            "rediscommander/redis-commander",
        ],
        role: Role::Console,
        admin_ports: &[80, 443, 8080, 8081],
        ..PLAIN
    },
    KnownImage {
        name: "Portainer",
        repositories: &["portainer/portainer-ce", "portainer/portainer", "portainer/portainer-ee"],
        role: Role::Console,
        admin_ports: &[9000, 9443, 8000],
        data: &["/data"],
        may_probe: true,
        ..PLAIN
    },
    KnownImage {
        name: "Flower",
        repositories: &["mher/flower"],
        role: Role::Console,
        admin_ports: &[5555],
        ..PLAIN
    },
    KnownImage {
        name: "a mail catcher",
        repositories: &["mailhog/mailhog", "axllent/mailpit"],
        role: Role::Console,
        admin_ports: &[8025, 1025],
        may_probe: true,
        ..PLAIN
    },
    KnownImage {
        name: "a language or distribution",
        repositories: &[
            "library/python",
            "library/node",
            "library/golang",
            "library/ruby",
            "library/php",
            "library/rust",
            "library/openjdk",
            "library/eclipse-temurin",
            "library/debian",
            "library/ubuntu",
            "library/alpine",
            "library/busybox",
            "library/amazoncorretto",
            "library/maven",
            "library/gradle",
            "library/perl",
            "library/elixir",
            "library/erlang",
        ],
        stays_root: true,
        ..PLAIN
    },
];

/// Returns what is known of an image.
pub(crate) fn known(image: &Reference) -> Option<&'static KnownImage> {
    IMAGES.iter().find(|known| known.repositories.iter().any(|own| is_repository(image, own)))
}

impl KnownImage {
    /// Says whether a command is that of its server: it begins with it, or with an option for it.
    pub(crate) fn is_server(&self, command: &[String]) -> bool {
        let Some(first) = command.first() else { return true };
        let program = first.rsplit('/').next().unwrap_or(first);
        if first.starts_with('-') {
            return true;
        }
        match self.servers {
            [] => !matches!(program, "sh" | "bash" | "ash" | "dash"),
            own => own.contains(&program),
        }
    }

    /// Says whether it keeps data that others wait for.
    pub(crate) fn is_store(&self) -> bool {
        matches!(self.role, Role::Database | Role::Cache | Role::Queue | Role::Search | Role::Storage)
    }

    /// Says whether applications are built on it, so that nothing is known of what it runs.
    pub(crate) fn is_base(&self) -> bool {
        self.role == Role::Base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_repositories() {
        let name = |image: &str| known(&image.parse().unwrap()).map(|known| known.name);
        assert_eq!(name("postgres:15-alpine"), Some("PostgreSQL"));
        assert_eq!(name("public.ecr.aws/docker/library/postgres:16"), Some("PostgreSQL"));
        assert_eq!(name("prom/prometheus"), Some("Prometheus"));
        assert_eq!(name("me/postgres"), None);
        assert_eq!(name("ghcr.io/me/postgres"), None);
    }
}
