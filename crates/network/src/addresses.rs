//! Who has which address of one network, as a file that many processes change at once.
//!
//! ```text
//! <path>         {"last": "10.210.0.7", "held": {"10.210.0.7": "<container id>"}}
//! <path>.lock    held while the file changes
//! ```
//!
//! Belongs under the run root: no container, and so no address, outlives a reboot. Whether a holder still lives is for
//! the engine to say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ipam::{IpamError, choose_address};
use crate::lock::Lock;
use crate::subnet::Subnet;

/// The addresses of one network. Cheap to make; touches nothing until used.
#[derive(Clone, Debug)]
pub struct Addresses {
    path: PathBuf,
}

/// Why an address was not given or taken back.
#[derive(Debug, thiserror::Error)]
pub enum AddressesError {
    /// The plan has none.
    #[error(transparent)]
    Plan(#[from] IpamError),
    /// The requested address is another container's.
    #[error("address {address} is held by container {container}")]
    Held {
        /// What was asked for.
        address: Ipv4Addr,
        /// The id of its holder.
        container: String,
    },
    /// The file cannot be used.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    last: Option<Ipv4Addr>,
    held: BTreeMap<Ipv4Addr, String>,
}

impl Addresses {
    /// Returns the addresses that the file `path` remembers; an absent file is an empty one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Gives the container an address of the network: the one it has, else `requested`, else a free one that has rested.
    ///
    /// Where none is free, or the requested one is held, addresses of containers that do not live (`lives` says so by
    /// id) are taken back first. A container must count as living before it asks, or a rival could take its address.
    pub fn assign(
        &self,
        subnet: Subnet,
        gateway: Ipv4Addr,
        container: &str,
        requested: Option<Ipv4Addr>,
        lives: impl Fn(&str) -> bool,
    ) -> Result<Ipv4Addr, AddressesError> {
        let _lock = self.lock()?;
        let mut book = self.read()?;
        let own = book.held.iter().find(|(_, holder)| *holder == container).map(|(address, _)| *address);
        if let Some(own) = own {
            if requested.is_none_or(|requested| requested == own) && subnet.contains(own) {
                return Ok(own);
            }
            book.held.remove(&own);
        }
        let choose = |book: &Book| {
            choose_address(subnet, gateway, &book.held.keys().copied().collect(), requested, book.last)
        };
        let address = match choose(&book) {
            Err(IpamError::Full(_) | IpamError::AddressTaken(_)) => {
                book.held.retain(|_, holder| lives(holder));
                choose(&book)
            }
            chosen => chosen,
        };
        let address = match (address, requested) {
            (Ok(address), _) => address,
            (Err(IpamError::AddressTaken(address)), Some(_)) => {
                let container = book.held.remove(&address).unwrap_or_default();
                return Err(AddressesError::Held { address, container });
            }
            (Err(error), _) => return Err(error.into()),
        };
        if requested.is_none() {
            book.last = Some(address);
        }
        book.held.insert(address, container.to_owned());
        self.write(&book)?;
        Ok(address)
    }

    /// Takes the container's address back; returns it, if it had one.
    pub fn release(&self, container: &str) -> Result<Option<Ipv4Addr>, AddressesError> {
        let _lock = self.lock()?;
        let mut book = self.read()?;
        let own = book.held.iter().find(|(_, holder)| *holder == container).map(|(address, _)| *address);
        if let Some(own) = own {
            book.held.remove(&own);
            self.write(&book)?;
        }
        Ok(own)
    }

    /// Takes back all addresses of containers that do not live; returns how many.
    pub fn reclaim(&self, lives: impl Fn(&str) -> bool) -> Result<usize, AddressesError> {
        let _lock = self.lock()?;
        let mut book = self.read()?;
        let before = book.held.len();
        book.held.retain(|_, holder| lives(holder));
        let reclaimed = before - book.held.len();
        if reclaimed > 0 {
            self.write(&book)?;
        }
        Ok(reclaimed)
    }

    /// Returns who has which address: address to container id.
    pub fn held(&self) -> Result<BTreeMap<Ipv4Addr, String>, AddressesError> {
        Ok(self.read()?.held)
    }

    /// Removes the files, with the network.
    pub fn remove(&self) -> Result<(), AddressesError> {
        let _lock = self.lock()?;
        for path in [self.path.clone(), self.lock_path()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(AddressesError::File { action: "remove", path, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Two processes that read the file at once would give one address to two containers.
    fn lock(&self) -> Result<Lock, AddressesError> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(|source| self.failed("create the directory of", source))?;
        }
        Lock::acquire(&self.lock_path()).map_err(|source| self.failed("lock", source))
    }

    fn lock_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        path.into()
    }

    fn read(&self) -> Result<Book, AddressesError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Book::default()),
            Err(source) => return Err(self.failed("read", source)),
        };
        serde_json::from_slice(&text).map_err(|error| self.failed("read", error.into()))
    }

    fn write(&self, book: &Book) -> Result<(), AddressesError> {
        let write = || {
            let temporary = self.path.with_extension("new");
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(book)?)?;
            // On the tmpfs that this is meant for it costs nothing; elsewhere a torn file would stop every start.
            file.sync_data()?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(|source| self.failed("write", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AddressesError {
        AddressesError::File { action, path: self.path.clone(), source }
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn subnet() -> Subnet {
        "10.1.0.0/29".parse().unwrap()
    }

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 0, last)
    }

    fn assign(
        addresses: &Addresses,
        container: &str,
        requested: Option<u8>,
        dead: &[&str],
    ) -> Result<u8, String> {
        let lives = |id: &str| !dead.contains(&id);
        addresses
            .assign(subnet(), at(1), container, requested.map(at), lives)
            .map(|address| address.octets()[3])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_container_keeps_its_address_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = Addresses::new(dir.path().join("networks/n.json"));
        assert_eq!(assign(&addresses, "a", None, &[]), Ok(2));
        assert_eq!(assign(&addresses, "b", None, &[]), Ok(3));
        assert_eq!(assign(&addresses, "a", None, &[]), Ok(2));
        assert_eq!(assign(&addresses, "a", Some(6), &[]), Ok(6));
        assert_eq!(
            addresses.held().unwrap(),
            BTreeMap::from([(at(3), "b".to_owned()), (at(6), "a".to_owned())])
        );
        assert_eq!(addresses.release("a").unwrap(), Some(at(6)));
        assert_eq!(addresses.release("a").unwrap(), None);
        assert_eq!(assign(&addresses, "c", None, &[]), Ok(4), "a freed address rests");
        addresses.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("networks")).unwrap().count(), 0);
    }

    #[test]
    fn addresses_of_vanished_containers_come_back_when_needed() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = Addresses::new(dir.path().join("n.json"));
        for (id, last) in [("a", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6)] {
            assert_eq!(assign(&addresses, id, None, &[]), Ok(last));
        }
        assert_eq!(
            assign(&addresses, "f", None, &[]),
            Err("subnet 10.1.0.0/29 has no free address".to_owned())
        );
        assert_eq!(assign(&addresses, "f", None, &["c"]), Ok(4));
        assert_eq!(
            assign(&addresses, "g", Some(5), &[]),
            Err("address 10.1.0.5 is held by container d".to_owned())
        );
        assert_eq!(assign(&addresses, "g", Some(5), &["d"]), Ok(5));
        assert_eq!(addresses.reclaim(|id| id == "g").unwrap(), 4);
        assert_eq!(addresses.held().unwrap().len(), 1);
    }

    #[test]
    fn many_at_once_get_different_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = Addresses::new(dir.path().join("n.json"));
        let wide: Subnet = "10.1.0.0/24".parse().unwrap();
        let given: BTreeSet<Ipv4Addr> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|number| {
                    let addresses = &addresses;
                    scope.spawn(move || {
                        addresses
                            .assign(wide, wide.default_gateway(), &format!("c{number}"), None, |_| true)
                            .unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(given.len(), 64);
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.json");
        fs::write(&path, "{").unwrap();
        let error = assign(&Addresses::new(&path), "a", None, &[]).unwrap_err();
        assert_eq!(error, format!("cannot read {}", path.display()));
    }
}
