//! Until when releases are supported.
//!
//! Source: the projects' release pages, as collected by <https://endoflife.date> (2025-07). Only lines whose end was
//! announced are listed; a line that is missing is not known.

use coracle_oci::Reference;

/// A line of releases.
struct Line {
    /// Its number, as far as it decides: `3.9`, `18`.
    cycle: &'static str,
    /// The last day of support.
    end: (i64, i64, i64),
}

/// A product, by the repositories of its images.
struct Product {
    name: &'static str,
    repositories: &'static [&'static str],
    /// Oldest first.
    lines: &'static [Line],
}

const fn line(cycle: &'static str, year: i64, month: i64, day: i64) -> Line {
    Line { cycle, end: (year, month, day) }
}

static PRODUCTS: &[Product] = &[
    Product {
        name: "Python",
        repositories: &["library/python"],
        lines: &[
            line("2", 2020, 1, 1),
            line("3.5", 2020, 9, 30),
            line("3.6", 2021, 12, 23),
            line("3.7", 2023, 6, 27),
            line("3.8", 2024, 10, 7),
            line("3.9", 2025, 10, 31),
            line("3.10", 2026, 10, 31),
            line("3.11", 2027, 10, 31),
            line("3.12", 2028, 10, 31),
            line("3.13", 2029, 10, 31),
        ],
    },
    Product {
        name: "Node.js",
        repositories: &["library/node"],
        lines: &[
            line("8", 2019, 12, 31),
            line("10", 2021, 4, 30),
            line("12", 2022, 4, 30),
            line("14", 2023, 4, 30),
            line("16", 2023, 9, 11),
            line("17", 2022, 6, 1),
            line("18", 2025, 4, 30),
            line("19", 2023, 6, 1),
            line("20", 2026, 4, 30),
            line("21", 2024, 6, 1),
            line("23", 2025, 6, 1),
            line("22", 2027, 4, 30),
            line("24", 2028, 4, 30),
        ],
    },
    Product {
        name: "PostgreSQL",
        repositories: &["library/postgres"],
        lines: &[
            line("9", 2021, 11, 11),
            line("10", 2022, 11, 10),
            line("11", 2023, 11, 9),
            line("12", 2024, 11, 21),
            line("13", 2025, 11, 13),
            line("14", 2026, 11, 12),
            line("15", 2027, 11, 11),
            line("16", 2028, 11, 9),
            line("17", 2029, 11, 8),
        ],
    },
    Product {
        name: "MySQL",
        repositories: &["library/mysql"],
        lines: &[
            line("5.5", 2018, 12, 31),
            line("5.6", 2021, 2, 28),
            line("5.7", 2023, 10, 31),
            line("8.0", 2026, 4, 30),
            line("8.4", 2032, 4, 30),
        ],
    },
    Product {
        name: "MariaDB",
        repositories: &["library/mariadb"],
        lines: &[
            line("10.2", 2022, 5, 23),
            line("10.3", 2023, 5, 25),
            line("10.4", 2024, 6, 18),
            line("10.5", 2025, 6, 24),
            line("10.6", 2026, 7, 6),
            line("10.7", 2023, 2, 9),
            line("10.8", 2023, 5, 20),
            line("10.9", 2023, 8, 22),
            line("10.10", 2023, 11, 17),
            line("11.0", 2024, 6, 6),
            line("11.1", 2024, 8, 21),
            line("11.2", 2024, 11, 21),
            line("10.11", 2028, 2, 16),
            line("11.4", 2029, 5, 29),
        ],
    },
    Product {
        name: "MongoDB",
        repositories: &["library/mongo"],
        lines: &[
            line("3", 2021, 4, 30),
            line("4.0", 2022, 4, 30),
            line("4.2", 2023, 4, 30),
            line("4.4", 2024, 2, 29),
            line("5", 2024, 10, 31),
            line("6", 2025, 7, 31),
            line("7", 2027, 8, 31),
            line("8", 2029, 10, 31),
        ],
    },
    Product {
        name: "nginx",
        repositories: &["library/nginx", "nginxinc/nginx-unprivileged"],
        lines: &[
            line("1.14", 2019, 4, 23),
            line("1.16", 2020, 4, 21),
            line("1.18", 2021, 4, 20),
            line("1.20", 2022, 5, 24),
            line("1.22", 2023, 4, 11),
            line("1.24", 2024, 4, 23),
            line("1.26", 2025, 4, 23),
        ],
    },
    Product {
        name: "Debian",
        repositories: &["library/debian", "library/buildpack-deps"],
        lines: &[
            line("8", 2020, 6, 30),
            line("9", 2022, 6, 30),
            line("10", 2024, 6, 30),
            line("11", 2026, 8, 31),
            line("12", 2028, 6, 30),
            line("13", 2030, 6, 30),
        ],
    },
    Product {
        name: "Ubuntu",
        repositories: &["library/ubuntu"],
        lines: &[
            line("14.04", 2019, 4, 30),
            line("16.04", 2021, 4, 30),
            line("18.04", 2023, 5, 31),
            line("20.04", 2025, 5, 31),
            line("22.10", 2023, 7, 20),
            line("23.04", 2024, 1, 25),
            line("23.10", 2024, 7, 11),
            line("24.10", 2025, 7, 10),
            line("22.04", 2027, 4, 30),
            line("24.04", 2029, 4, 30),
        ],
    },
    Product {
        name: "Alpine Linux",
        repositories: &["library/alpine"],
        lines: &[
            line("3.9", 2020, 11, 1),
            line("3.10", 2021, 5, 1),
            line("3.11", 2021, 11, 1),
            line("3.12", 2022, 5, 1),
            line("3.13", 2022, 11, 1),
            line("3.14", 2023, 5, 1),
            line("3.15", 2023, 11, 1),
            line("3.16", 2024, 5, 23),
            line("3.17", 2024, 11, 22),
            line("3.18", 2025, 5, 9),
            line("3.19", 2025, 11, 1),
            line("3.20", 2026, 4, 1),
            line("3.21", 2026, 11, 1),
            line("3.22", 2027, 5, 1),
        ],
    },
    Product {
        name: "CentOS",
        repositories: &["library/centos"],
        lines: &[line("6", 2020, 11, 30), line("7", 2024, 6, 30), line("8", 2021, 12, 31)],
    },
    Product {
        name: "Go",
        repositories: &["library/golang"],
        lines: &[
            line("1.18", 2023, 2, 1),
            line("1.19", 2023, 8, 8),
            line("1.20", 2024, 2, 6),
            line("1.21", 2024, 8, 13),
            line("1.22", 2025, 2, 11),
            line("1.23", 2025, 8, 12),
        ],
    },
    Product {
        name: "Ruby",
        repositories: &["library/ruby"],
        lines: &[
            line("2", 2023, 3, 31),
            line("3.0", 2024, 4, 23),
            line("3.1", 2025, 3, 26),
            line("3.2", 2026, 3, 31),
            line("3.3", 2027, 3, 31),
            line("3.4", 2028, 3, 31),
        ],
    },
    Product {
        name: "PHP",
        repositories: &["library/php"],
        lines: &[
            line("5", 2018, 12, 31),
            line("7", 2022, 11, 28),
            line("8.0", 2023, 11, 26),
            line("8.1", 2025, 12, 31),
            line("8.2", 2026, 12, 31),
            line("8.3", 2027, 12, 31),
            line("8.4", 2028, 12, 31),
        ],
    },
    Product {
        name: "Elasticsearch",
        repositories: &["library/elasticsearch", "elasticsearch/elasticsearch"],
        lines: &[line("5", 2019, 3, 11), line("6", 2022, 2, 10), line("7", 2026, 1, 15)],
    },
    Product {
        name: ".NET",
        repositories: &[
            "dotnet/sdk",
            "dotnet/aspnet",
            "dotnet/runtime",
            "dotnet/core/sdk",
            "dotnet/core/aspnet",
            "dotnet/core/runtime",
        ],
        lines: &[
            line("2", 2021, 8, 21),
            line("3", 2022, 12, 13),
            line("5", 2022, 5, 10),
            line("7", 2024, 5, 14),
            line("6", 2024, 11, 12),
            line("8", 2026, 11, 10),
        ],
    },
    Product { name: "Traefik", repositories: &["library/traefik"], lines: &[line("1", 2021, 12, 31)] },
];

/// Releases of distributions by their names, as they stand in the tags of other images.
const NAMES: &[(&str, &str, &str)] = &[
    ("jessie", "Debian", "8"),
    ("stretch", "Debian", "9"),
    ("buster", "Debian", "10"),
    ("bullseye", "Debian", "11"),
    ("bookworm", "Debian", "12"),
    ("trixie", "Debian", "13"),
    ("trusty", "Ubuntu", "14.04"),
    ("xenial", "Ubuntu", "16.04"),
    ("bionic", "Ubuntu", "18.04"),
    ("focal", "Ubuntu", "20.04"),
    ("jammy", "Ubuntu", "22.04"),
    ("noble", "Ubuntu", "24.04"),
];

/// What is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// What it is: `Node.js 18`, `Debian 10 (buster)`.
    pub(crate) what: String,
    /// Since when: `2025-04-30`.
    pub(crate) since: String,
    /// The tag with a line that is supported, when it differs in its number alone.
    pub(crate) better: Option<String>,
}

/// Returns what of an image is no longer supported on a day (days since 1970-01-01).
pub(crate) fn ended(image: &Reference, today: i64) -> Option<Ended> {
    let tag = image.tag()?;
    let product =
        PRODUCTS.iter().find(|product| product.repositories.iter().any(|own| is_repository(image, own)));
    if let Some(product) = product
        && let Some(found) = numbered(product, tag, today)
    {
        return Some(found);
    }
    // What it is made on; only official images write it so.
    let official = image.repository().starts_with("library/") || image.repository().starts_with("dotnet/");
    if !official {
        return None;
    }
    for part in tag.split('-') {
        if let Some((name, product, cycle)) = NAMES.iter().find(|(name, _, _)| *name == part) {
            let end = end_of(product, cycle)?;
            let what = format!("{product} {cycle} ({name})");
            if days(end) < today {
                return Some(Ended { what, since: date(end), better: None });
            }
        }
        if let Some(version) = part.strip_prefix("alpine").filter(|version| !version.is_empty()) {
            let cycle: String = version.split('.').take(2).collect::<Vec<_>>().join(".");
            let end = end_of("Alpine Linux", &cycle)?;
            if days(end) < today {
                return Some(Ended {
                    what: format!("Alpine Linux {cycle}"),
                    since: date(end),
                    better: Some(tag.replacen(part, "alpine", 1)),
                });
            }
        }
    }
    None
}

fn numbered(product: &Product, tag: &str, today: i64) -> Option<Ended> {
    let first = tag.split('-').next().unwrap_or(tag);
    let version = first.strip_prefix('v').unwrap_or(first);
    let numbers: Vec<&str> = version.split('.').collect();
    if !numbers.iter().all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let holds = |line: &&Line| {
        let cycle: Vec<&str> = line.cycle.split('.').collect();
        numbers.starts_with(&cycle)
    };
    let line = product.lines.iter().find(holds)?;
    if days(line.end) >= today {
        return None;
    }
    // The first line that holds for another year, else the last that holds at all.
    let later = |margin: i64| product.lines.iter().find(|line| days(line.end) >= today + margin);
    let better = later(365).or_else(|| later(0)).map(|better| {
        let rest = tag.strip_prefix(first).unwrap_or_default();
        let prefix = if first.starts_with('v') { "v" } else { "" };
        format!("{prefix}{}{rest}", better.cycle)
    });
    let what = format!("{} {}", product.name, line.cycle);
    // A suffix that names an old distribution would not exist for the newer line.
    let suffixed = NAMES.iter().any(|(name, _, _)| tag.contains(name)) || tag.contains("alpine3");
    Some(Ended { what, since: date(line.end), better: better.filter(|_| !suffixed) })
}

fn end_of(product: &str, cycle: &str) -> Option<(i64, i64, i64)> {
    let product = PRODUCTS.iter().find(|own| own.name == product)?;
    product.lines.iter().find(|line| line.cycle == cycle).map(|line| line.end)
}

/// Says whether an image is of this repository of Docker Hub, or of a mirror that keeps its names.
pub(crate) fn is_repository(image: &Reference, repository: &str) -> bool {
    let own = image.repository();
    if image.registry() == "docker.io" || !repository.starts_with("library/") {
        return own == repository;
    }
    own.strip_suffix(repository).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn date((year, month, day): (i64, i64, i64)) -> String {
    format!("{year}-{month:02}-{day:02}")
}

/// Returns the days since 1970-01-01 (Howard Hinnant's `days_from_civil`).
fn days((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24
    const TODAY: i64 = 20_781;

    fn told(image: &str) -> String {
        match ended(&image.parse().unwrap(), TODAY) {
            None => String::new(),
            Some(ended) => {
                format!("{} since {}; {}", ended.what, ended.since, ended.better.as_deref().unwrap_or("-"))
            }
        }
    }

    #[test]
    fn days_are_counted() {
        assert_eq!(days((1970, 1, 1)), 0);
        assert_eq!(days((2026, 11, 24)), TODAY);
        assert_eq!(days((2024, 2, 29)) + 1, days((2024, 3, 1)));
    }

    #[test]
    fn lines_end() {
        let table = [
            ("node:18-alpine", "Node.js 18 since 2025-04-30; 24-alpine"),
            ("node:18.20.4", "Node.js 18 since 2025-04-30; 24"),
            ("mirror.gcr.io/library/node:18", "Node.js 18 since 2025-04-30; 24"),
            ("node:22-alpine", ""),
            ("node:99", ""),
            ("node", ""),
            ("node:lts-alpine", ""),
            ("my/node:18", ""),
            ("python:3.11-slim", ""),
            ("python:3", ""),
            ("python:3.9-slim", "Python 3.9 since 2025-10-31; 3.12-slim"),
            ("python:3.11-slim-buster", "Debian 10 (buster) since 2024-06-30; -"),
            ("python:3.12-alpine3.16", "Alpine Linux 3.16 since 2024-05-23; 3.12-alpine"),
            ("python:3.8-slim-buster", "Python 3.8 since 2024-10-07; -"),
            ("postgres:15-alpine", ""),
            ("postgres:9.6", "PostgreSQL 9 since 2021-11-11; 16"),
            ("debian:buster-slim", "Debian 10 (buster) since 2024-06-30; -"),
            ("ubuntu:focal", "Ubuntu 20.04 (focal) since 2025-05-31; -"),
            ("centos:7", "CentOS 7 since 2024-06-30; -"),
            ("mcr.microsoft.com/dotnet/sdk:6.0", ".NET 6 since 2024-11-12; -"),
        ];
        for (image, expected) in table {
            assert_eq!(told(image), expected, "{image}");
        }
    }
}
