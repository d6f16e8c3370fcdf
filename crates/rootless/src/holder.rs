//! The holder: a process with one thread that makes a world, or takes one over, and keeps it until nobody is inside.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::FlockOperation;
use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::descriptors;
use crate::pasta::{self, Link};
use crate::protocol::{Reply, Request};
use crate::sockets;
use crate::spawn::{FAILED, MAPPED, NEEDS_IDS, READY, SINGLE};
use crate::world::{Home, Members, Process, World, namespace};
use crate::{cgroups, ids, kernel};

/// How long a world stays after the last one left it: commands come in rows, and a world costs a tenth of a second.
const LINGER: Duration = Duration::from_secs(3);
/// How often it is looked whether containers have ended whose shim was killed.
const ROUND: Duration = Duration::from_secs(30);
/// How long a client may take over its request.
const REQUEST: Duration = Duration::from_secs(2);
/// The mode that makes a network namespace for another holder.
const NETWORK: &str = "network";

/// Runs the holder; `arguments` are those after `holder`: a run root, and process ids of a world's members when it is
/// taken over (0 for none). Call it first thing in `main`, before any thread exists.
pub fn entry(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // What the caller had open is not ours to keep: somebody may wait for its end.
    kernel::close_from(3);
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let outcome = match words.as_slice() {
        [NETWORK] => hold_network(),
        [run_root, any, mount, network] => {
            let pid = |text: &str| text.parse().ok().filter(|pid: &i32| *pid > 0);
            let members = Members { any: pid(any), mount: pid(mount), network: pid(network) };
            Holder::make(Path::new(run_root), members).map(Holder::hold)
        }
        _ => Err("usage: holder RUN_ROOT PID PID PID".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Whoever started us may be gone.
            let _ = say(&format!("{FAILED} {}", message.replace('\n', " ")));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn hear() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Makes a network namespace and stays until told otherwise, for a holder to take hold of it: the holder itself must not
/// leave the host's network, where it could not come back to.
fn hold_network() -> Result<(), String> {
    let fail = |error: io::Error| format!("cannot make a network namespace: {error}");
    kernel::unshare(UnshareFlags::NEWNET).map_err(fail)?;
    kernel::loopback_up().map_err(fail)?;
    let largest = ids::maximum_id(true);
    let settings = [
        ("net/ipv4/ping_group_range", format!("0 {largest}")),
        ("net/ipv4/ip_forward", "1".to_owned()),
        ("net/ipv6/conf/all/forwarding", "1".to_owned()),
    ];
    for (key, value) in settings {
        // A kernel without one of them does without.
        let _ = fs::write(Path::new("/proc/sys").join(key), value);
    }
    say(READY).map_err(fail)?;
    hear().map(drop).map_err(fail)
}

struct Holder {
    home: Home,
    world: World,
    user: File,
    mount: File,
    network: File,
    link: Link,
    listener: UnixListener,
    members: Vec<UnixStream>,
    pasta: Option<OwnedFd>,
}

fn file(pid: &str, kind: &str) -> Result<File, String> {
    let path = format!("/proc/{pid}/ns/{kind}");
    File::open(&path).map_err(|error| format!("cannot open {path}: {error}"))
}

fn join(file: &File, kind: LinkNameSpaceType, name: &str) -> Result<(), String> {
    move_into_link_name_space(file.as_fd(), Some(kind))
        .map_err(|error| format!("cannot join the {name} namespace: {error}"))
}

impl Holder {
    fn make(run_root: &Path, members: Members) -> Result<Self, String> {
        let home = Home::new(run_root);
        let before = World::read(&home).unwrap_or_default();
        let _ = rustix::process::setsid();
        let _ = rustix::thread::set_name(c"coracle-holder");
        // Routes and resolver are the host's: read before they are hidden.
        let link = Link::choose(&fs::read_to_string("/proc/net/route").unwrap_or_default());
        match members.any {
            None => {
                kernel::unshare(UnshareFlags::NEWUSER)
                    .map_err(|error| format!("cannot make a user namespace: {error}"))?;
                get_ids()?;
            }
            Some(pid) => join(&file(&pid.to_string(), "user")?, LinkNameSpaceType::User, "user")?,
        }
        // Commands of the same user look at our namespaces.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
        match members.mount {
            None => make_mounts(&home, link)?,
            Some(pid) => join(&file(&pid.to_string(), "mnt")?, LinkNameSpaceType::Mount, "mount")?,
        }
        let _ = std::env::set_current_dir("/");
        let network = match members.network {
            None => make_network()?,
            Some(pid) => file(&pid.to_string(), "net")?,
        };
        let old = before.pasta.filter(|pasta| members.network.is_some() && pasta.lives());
        if let Some(stray) = before.pasta.filter(|_| old.is_none()) {
            end(stray);
        }
        let directory = home.directory().to_path_buf();
        let fail = |error: io::Error| format!("cannot serve {}: {error}", directory.display());
        let listener = sockets::listen_in(home.directory()).map_err(fail)?;
        let mut holder = Self {
            user: file("self", "user")?,
            mount: file("self", "mnt")?,
            world: World {
                user: namespace("self", "user").map_err(fail)?,
                mount: namespace("self", "mnt").map_err(fail)?,
                network: number(&network).map_err(fail)?,
                pasta: old,
            },
            home,
            network,
            link,
            listener,
            members: Vec::new(),
            pasta: None,
        };
        let note = match old {
            Some(pasta) => holder.watch(pasta).err().map(|error| error.to_string()),
            None => holder.start_pasta().err(),
        };
        holder.world.write(&holder.home).map_err(fail)?;
        let _ = say(
            &note.map_or_else(|| READY.to_owned(), |note| format!("{READY} {}", note.replace('\n', " ")))
        );
        let null = File::options().read(true).write(true).open("/dev/null").map_err(fail)?;
        let streams = [
            rustix::stdio::dup2_stdin(&null),
            rustix::stdio::dup2_stdout(&null),
            rustix::stdio::dup2_stderr(&null),
        ];
        streams.into_iter().collect::<Result<(), _>>().map_err(|error| fail(error.into()))?;
        Ok(holder)
    }

    fn start_pasta(&mut self) -> Result<(), String> {
        if !pasta::installed(&std::env::var_os("PATH").unwrap_or_default()) {
            return Err("containers reach nothing outside: pasta is not installed".to_owned());
        }
        let forward = self.home.resolver().exists();
        let started = pasta::start(&self.home, &self.network, self.link, forward);
        let pasta =
            started.map_err(|error| format!("containers reach nothing outside: pasta failed: {error}"))?;
        self.watch(pasta).map_err(|error| error.to_string())
    }

    fn watch(&mut self, pasta: Process) -> io::Result<()> {
        self.world.pasta = Some(pasta);
        let pid = Pid::from_raw(pasta.pid).ok_or(io::ErrorKind::NotFound)?;
        self.pasta = Some(rustix::process::pidfd_open(pid, PidfdFlags::empty())?);
        Ok(())
    }

    /// Serves until nobody is inside any more.
    fn hold(mut self) {
        let mut empty_since = Some(Instant::now());
        loop {
            let busy = !self.members.is_empty();
            if busy {
                empty_since = None;
            } else if self.home.shims_live() {
                empty_since = Some(Instant::now());
            }
            let timeout = match empty_since {
                None => ROUND,
                Some(_) if !busy && self.home.shims_live() => ROUND,
                Some(since) => {
                    let left = LINGER.saturating_sub(since.elapsed());
                    if left.is_zero() && self.ends() {
                        return;
                    }
                    left.max(Duration::from_millis(200))
                }
            };
            self.turn(timeout);
            if self.members.is_empty() && empty_since.is_none() {
                empty_since = Some(Instant::now());
            }
        }
    }

    fn turn(&mut self, timeout: Duration) {
        let mut watched = vec![PollFd::new(&self.listener, PollFlags::IN)];
        watched.extend(self.pasta.iter().map(|pasta| PollFd::new(pasta, PollFlags::IN)));
        let first = watched.len();
        watched.extend(self.members.iter().map(|member| PollFd::new(member, PollFlags::IN)));
        let timeout = rustix::time::Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        if rustix::event::poll(&mut watched, Some(&timeout)).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let happened: Vec<bool> = watched.iter().map(|watched| !watched.revents().is_empty()).collect();
        drop(watched);
        // Members have nothing to say: what comes is their end.
        let mut gone = happened[first..].iter();
        self.members.retain(|_| !gone.next().copied().unwrap_or(false));
        if first == 2 && happened[1] {
            self.pasta = None;
            self.world.pasta = None;
            // Without it containers reach nothing outside; one that fails at once is not tried for ever.
            let _ = self.start_pasta();
            let _ = self.world.write(&self.home);
        }
        if happened[0] {
            self.accept();
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let timeouts = [stream.set_read_timeout(Some(REQUEST)), stream.set_write_timeout(Some(REQUEST))];
            if timeouts.into_iter().all(|set| set.is_ok()) && self.serve(&stream).unwrap_or(false) {
                self.members.push(stream);
            }
        }
    }

    /// Answers one client; returns whether it is inside from now on.
    fn serve(&self, stream: &UnixStream) -> io::Result<bool> {
        let (request, _) = descriptors::receive::<Request>(stream)?;
        match request {
            Request::Enter => {
                let all = [self.user.as_fd(), self.mount.as_fd(), self.network.as_fd()];
                descriptors::send(stream, &Reply::Done, &all)?;
                Ok(true)
            }
            Request::Stay => {
                descriptors::send(stream, &Reply::Done, &[])?;
                Ok(true)
            }
            Request::Socket(wanted) => {
                match sockets::bind_here(&wanted) {
                    Ok(socket) => descriptors::send(stream, &Reply::Done, &[socket.as_fd()])?,
                    Err(error) => {
                        let errno = error.raw_os_error().unwrap_or(libc::EIO);
                        descriptors::send(stream, &Reply::Failed(errno), &[])?;
                    }
                }
                Ok(false)
            }
        }
    }

    /// Takes the world down, unless somebody is about to come in.
    fn ends(&mut self) -> bool {
        // Closes the race of a command that finds us just before we go: it holds this lock until it is inside.
        let Ok(lock) = File::options().create(true).append(true).open(self.home.lock()) else { return true };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        self.accept();
        if !self.members.is_empty() || self.home.shims_live() {
            return false;
        }
        if let Some(pasta) = self.world.pasta {
            end(pasta);
        }
        sockets::remove(self.home.directory());
        for path in [self.home.world(), self.home.log(), self.home.resolver(), self.pid_file()] {
            let _ = fs::remove_file(path);
        }
        true
    }

    fn pid_file(&self) -> PathBuf {
        self.home.directory().join("pasta.pid")
    }
}

fn end(process: Process) {
    if process.lives()
        && let Some(pid) = Pid::from_raw(process.pid)
    {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

fn number(namespace: &File) -> io::Result<String> {
    use std::os::fd::AsRawFd;
    let path = fs::read_link(format!("/proc/self/fd/{}", namespace.as_raw_fd()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Asks whoever started us for ids, or is content with the user's own.
fn get_ids() -> Result<(), String> {
    say(NEEDS_IDS).map_err(|error| error.to_string())?;
    let answer = hear().map_err(|error| error.to_string())?;
    match answer.split_once(' ').unwrap_or((&answer, "")) {
        (MAPPED, _) => Ok(()),
        (SINGLE, ids) => {
            let (uid, gid) = ids.split_once(' ').unwrap_or((ids, ids));
            let write = |file: &str, text: String| {
                let path = format!("/proc/self/{file}");
                fs::write(&path, text).map_err(|error| format!("cannot write {path}: {error}"))
            };
            // Without this the kernel lets nobody without privileges map a group.
            write("setgroups", "deny".to_owned())?;
            write("uid_map", format!("0 {uid} 1\n"))?;
            write("gid_map", format!("0 {gid} 1\n"))
        }
        _ => Err("whoever started it is gone".to_owned()),
    }
}

fn make_mounts(home: &Home, link: Link) -> Result<(), String> {
    let fail = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    kernel::unshare(UnshareFlags::NEWNS).map_err(|error| fail("make a mount namespace", &error))?;
    // What the host mounts later still comes in, what is mounted here never gets out.
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", propagation).map_err(|error| fail("keep mounts inside", &error))?;
    cgroups::show_unified().map_err(|error| fail("show the unified control groups", &error))?;
    let _ = fs::remove_file(home.resolver());
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if let Some(text) = pasta::resolver(&host, link) {
        let place = home.resolver();
        fs::write(&place, text).map_err(|error| fail("write the resolver's configuration", &error))?;
        rustix::mount::mount_bind(&place, "/etc/resolv.conf")
            .map_err(|error| fail("bind the resolver's configuration", &error))?;
    }
    Ok(())
}

fn make_network() -> Result<File, String> {
    let fail = |error: io::Error| format!("cannot make a network namespace: {error}");
    let mut child = Command::new("/proc/self/exe")
        .args(["holder", NETWORK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(fail)?;
    let network = network_of(&mut child);
    drop(child.stdin.take());
    let _ = child.wait();
    network
}

fn network_of(child: &mut Child) -> Result<File, String> {
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        io::BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    }
    match line.trim_end() {
        READY => file(&child.id().to_string(), "net"),
        message => Err(message.trim_start_matches(FAILED).trim().to_owned()),
    }
}
