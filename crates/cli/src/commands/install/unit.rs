//! The text of the systemd unit, and what of one says that it is ours.

use std::path::{Path, PathBuf};

/// The first line of a unit that we wrote.
const MARK: &str = "# Written by `coracle install`; `coracle uninstall` removes it.";

/// What a unit says.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The program.
    pub program: PathBuf,
    /// Whether it is a user's, not the system's.
    pub user: bool,
    /// Roots other than the usual ones.
    pub data_root: Option<PathBuf>,
    /// The same.
    pub run_root: Option<PathBuf>,
}

impl Unit {
    /// Returns the file's text.
    pub fn text(&self) -> String {
        let mut command = quoted(&self.program);
        for (option, root) in [("--data-root", &self.data_root), ("--run-root", &self.run_root)] {
            if let Some(root) = root {
                command = format!("{command} {option} {}", quoted(root));
            }
        }
        // A user's manager has neither the system's network nor its targets.
        let (order, target) = if self.user {
            (String::new(), "default.target")
        } else {
            let order = "Wants=network-online.target\n\
                 After=network-online.target local-fs.target nss-lookup.target systemd-user-sessions.service\n";
            let data = self.data_root.as_ref().map_or("/var/lib/coracle".into(), |root| quoted(root));
            (format!("{order}RequiresMountsFor={data}\n"), "multi-user.target")
        };
        format!(
            "{MARK}\n\
             [Unit]\n\
             Description=Containers of Coracle\n\
             {order}\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart={command} boot\n\
             ExecStop={command} boot --stop\n\
             # Supervisors outlive the command that started them; ExecStop has ended what is to end.\n\
             KillMode=process\n\
             TimeoutStartSec=30min\n\
             TimeoutStopSec=10min\n\
             \n\
             [Install]\n\
             WantedBy={target}\n"
        )
    }
}

/// Returns a path as a word of a unit's command line (systemd.service(5), "Command lines").
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns whether we wrote the unit.
pub fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_the_program_and_unusual_roots() {
        let mut unit =
            Unit { program: "/usr/local/bin/coracle".into(), user: false, data_root: None, run_root: None };
        let text = unit.text();
        assert!(is_ours(&text));
        assert!(!is_ours("[Unit]\n"));
        assert!(text.contains("\nExecStart=/usr/local/bin/coracle boot\n"), "{text}");
        assert!(text.contains("\nExecStop=/usr/local/bin/coracle boot --stop\n"), "{text}");
        assert!(text.contains("\nWantedBy=multi-user.target\n"), "{text}");
        unit.user = true;
        unit.program = "/home/a b/%h$x\"/coracle".into();
        unit.data_root = Some("/data".into());
        let text = unit.text();
        let command = r#"ExecStart="/home/a b/%%h$$x\"/coracle" --data-root /data boot"#;
        assert!(text.contains(command), "{text}");
        assert!(text.contains("\nWantedBy=default.target\n") && !text.contains("network-online"), "{text}");
    }
}
