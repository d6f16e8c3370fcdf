//! A real terminal around one call of the binary: what is typed goes in, what is shown comes out.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::SOON;

/// A terminal with a call of the binary in it; the call is killed with this value.
pub struct Terminal {
    master: File,
    /// Kept open, so that its modes can be looked at when the call has ended.
    slave: File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    /// Runs the binary in a new terminal of this size.
    pub fn run(rows: u16, columns: u16, arguments: &[&str]) -> Self {
        let master: OwnedFd =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be made");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal can be used");
        let path = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("in UTF-8");
        let slave = OpenOptions::new().read(true).write(true).open(path).expect("its other side opens");
        set_size(&slave, rows, columns);
        let program = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
        let end = |file: &File| Stdio::from(file.try_clone().expect("a descriptor can be copied"));
        let child = Command::new(program)
            .args(arguments)
            .stdin(end(&slave))
            .stdout(end(&slave))
            .stderr(end(&slave))
            .spawn()
            .expect("the binary starts");
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut source, sink) =
            (master.try_clone().expect("a descriptor can be copied"), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = source.read(&mut buffer) {
                if count == 0 {
                    return;
                }
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        Self { master, slave, shown, child }
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes what is typed");
    }

    /// Gives the terminal another size, and tells the call, which a kernel does only for a controlling terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.slave, rows, columns);
        self.signal("WINCH");
    }

    /// Sends the call a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "the call can be signalled");
    }

    /// Waits until the terminal has shown `text`.
    #[track_caller]
    pub fn waits_for(&self, text: &str) {
        let end = Instant::now() + SOON;
        while !self.so_far().contains(text) {
            assert!(Instant::now() < end, "`{text}` was not shown; this was: {:?}", self.so_far());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the call has taken the terminal.
    #[track_caller]
    pub fn becomes_raw(&self) {
        let end = Instant::now() + SOON;
        while !self.is_raw() {
            assert!(Instant::now() < end, "the terminal stays as it was; shown: {:?}", self.so_far());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns whether each key goes to the program as it is.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("the terminal has modes");
        !modes.local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the call's end and returns its exit code.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "the call does not end; it showed {:?}", self.so_far());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal takes a size");
}
