//! `pasta`, which carries packets between a world's network and the host's without any privilege.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::world::{Home, Process};

/// The program's name.
pub const PASTA: &str = "pasta";

/// The first three numbers of networks of four addresses: the world's first choice is the first that the host does not
/// use. Two of them are the world's and the host's side.
const LINKS: [[u8; 3]; 4] = [[10, 211, 255], [172, 31, 255], [192, 168, 254], [100, 127, 255]];

/// The name of the link by which a world reaches the host.
pub const LINK_NAME: &str = "host0";

/// The addresses between a world and the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub own: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// Where name servers of the host's loopback answer.
    pub resolver: Ipv4Addr,
}

impl Link {
    fn of([a, b, c]: [u8; 3]) -> Self {
        let address = |last| Ipv4Addr::new(a, b, c, last);
        Self { gateway: address(249), own: address(250), resolver: address(251) }
    }

    /// Chooses a link that none of the host's routes (`/proc/net/route`) leads to.
    pub fn choose(routes: &str) -> Self {
        let taken = |link: &Self| {
            routes.lines().skip(1).any(|line| {
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                let number = |at: usize| {
                    fields.get(at).and_then(|text| u32::from_str_radix(text, 16).ok()).map(u32::swap_bytes)
                };
                matches!((number(1), number(7)), (Some(destination), Some(mask))
                    if mask != 0 && link.own.to_bits() & mask == destination)
            })
        };
        let links = LINKS.map(Self::of);
        links.into_iter().find(|link| !taken(link)).unwrap_or(links[0])
    }
}

/// Starts pasta for the network namespace `network` and returns it once it carries packets. `forward` says whether name
/// servers of the host's loopback are asked by the link's address for them; pasta of 2023 answers nobody else then.
///
/// It forwards no port by itself: what is published is bound by the holder, for the keeper to know each client's
/// address. The host's loopback cannot be reached through it.
pub(crate) fn start(home: &Home, network: &fs::File, link: Link, forward: bool) -> io::Result<Process> {
    let pid_file = home.directory().join("pasta.pid");
    let _ = fs::remove_file(&pid_file);
    let log = fs::File::create(home.log())?;
    let status = Command::new(PASTA)
        .args(["--config-net", "--quiet", "--no-map-gw", "--ns-ifname", LINK_NAME])
        .args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"])
        .args(["-a", &link.own.to_string(), "-n", "29", "-g", &link.gateway.to_string()])
        .args(forward.then(|| format!("--dns-forward={}", link.resolver)))
        .arg("--pid")
        .arg(&pid_file)
        // It would become `nobody` else, who may do nothing here.
        .args(["--runas", "0:0", "--netns-only", "--netns"])
        // By descriptor: without its capabilities it may not look at ours.
        .arg("/proc/self/fd/0")
        .stdin(network.try_clone()?)
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()?;
    if !status.success() {
        return Err(io::Error::other(last_words(&fs::read_to_string(home.log()).unwrap_or_default())));
    }
    let pid = fs::read_to_string(&pid_file)?;
    let pid = pid.trim().parse().map_err(io::Error::other)?;
    Process::of(pid).ok_or_else(|| io::Error::other("it ended at once"))
}

/// Returns what pasta complained of, without what it says about the system's log.
fn last_words(log: &str) -> String {
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("Failed to send ");
    log.lines().rfind(told).unwrap_or("it says nothing").trim().to_owned()
}

/// Returns the text of the world's `/etc/resolv.conf` when the host's names only servers of its own loopback, which
/// nobody in another network reaches.
pub(crate) fn resolver(host: &str, link: Link) -> Option<String> {
    let mut servers = host.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let loopback = |server: &str| server.starts_with("127.") || server == "::1";
    let mut any = false;
    if !servers.all(|server| {
        any = true;
        loopback(server)
    }) || !any
    {
        return None;
    }
    let others = host.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
    let mut text = format!("nameserver {}\n", link.resolver);
    others.for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    Some(text)
}

/// Returns whether pasta is installed where `path` (`PATH`) is searched.
pub(crate) fn installed(path: &std::ffi::OsStr) -> bool {
    std::env::split_paths(path).any(|directory| is_program(&directory.join(PASTA)))
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_avoids_the_host() {
        let heading = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        assert_eq!(Link::choose(heading).own, Ipv4Addr::new(10, 211, 255, 250));
        let default = format!("{heading}eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n");
        assert_eq!(Link::choose(&default).own, Ipv4Addr::new(10, 211, 255, 250));
        // 10.0.0.0/8
        let taken = format!("{default}tun0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n");
        assert_eq!(Link::choose(&taken).own, Ipv4Addr::new(172, 31, 255, 250));
    }

    #[test]
    fn name_servers_of_the_loopback_are_replaced() {
        let link = Link::of([10, 211, 255]);
        assert_eq!(resolver("nameserver 192.0.2.53\n", link), None);
        assert_eq!(resolver("nameserver 127.0.0.53\nnameserver 192.0.2.53\n", link), None);
        assert_eq!(resolver("", link), None);
        assert_eq!(
            resolver("nameserver 127.0.0.53\noptions edns0\nsearch lan\n", link).as_deref(),
            Some("nameserver 10.211.255.251\noptions edns0\nsearch lan\n")
        );
    }

    #[test]
    fn complaints() {
        let log = "Failed to send 51 bytes to syslog\nCouldn't open /dev/net/tun\nFailed to send 7 bytes to syslog\n\n";
        assert_eq!(last_words(log), "Couldn't open /dev/net/tun");
    }
}
