//! Verdicts over what only a normal user needs.

use super::Check;
use super::checks::setting;
use super::survey::Survey;

/// Ids with which an image's users all exist.
const ENOUGH: u64 = 65_536;
/// The lowest port of a web server.
const WEB: u16 = 80;

pub(super) fn diagnose(survey: &Survey) -> Vec<Check> {
    vec![
        namespaces(survey),
        subordinates(survey),
        helpers(survey),
        pasta(survey),
        tun(survey),
        ports(survey),
        ping(survey),
        runtime_directory(survey),
        session(survey),
    ]
}

fn namespaces(survey: &Survey) -> Check {
    let id = "unprivileged-namespaces";
    if survey.user_namespaces == Some(0) {
        return Check::missing(id, "user.max_user_namespaces is 0: nobody may make a user namespace")
            .mended_by(setting("user.max_user_namespaces=15000"));
    }
    if survey.unprivileged_clone == Some(0) {
        return Check::missing(
            id,
            "kernel.unprivileged_userns_clone is 0: only root may make a user namespace",
        )
        .mended_by(setting("kernel.unprivileged_userns_clone=1"));
    }
    if survey.apparmor_restricts.is_some_and(|restricts| restricts != 0) {
        return Check::limited(
            id,
            "AppArmor gives user namespaces of unknown programs no rights (kernel.apparmor_restrict_unprivileged_userns)",
        )
        .mended_by(setting("kernel.apparmor_restrict_unprivileged_userns=0"));
    }
    Check::good(id, "a normal user may make a user namespace")
}

fn subordinates(survey: &Survey) -> Check {
    let id = "subordinate-ids";
    let found = &survey.subordinates;
    let name = &found.name;
    let sum =
        |ranges: &[coracle_rootless::Range]| ranges.iter().map(|range| u64::from(range.count)).sum::<u64>();
    let (users, groups) = (sum(&found.users), sum(&found.groups));
    if users >= ENOUGH && groups >= ENOUGH {
        return Check::good(id, format!("`{name}` may give {users} users and {groups} groups to containers"));
    }
    let first = survey.next_range;
    let last = u64::from(first) + ENOUGH - 1;
    let mend = format!("sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {name}");
    let text = if users == 0 || groups == 0 {
        format!(
            "/etc/subuid and /etc/subgid give `{name}` no ids: containers have one user, their root, and images that need others fail"
        )
    } else {
        format!(
            "`{name}` may give {users} users and {groups} groups to containers: files of others cannot be unpacked"
        )
    };
    Check::limited(id, text).mended_by(mend)
}

fn helpers(survey: &Survey) -> Check {
    let id = "id-helpers";
    let names = ["newuidmap", "newgidmap"];
    let lacking: Vec<&str> = names
        .iter()
        .zip(survey.helpers)
        .filter(|(_, found)| found.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !lacking.is_empty() {
        let text = format!("{} not installed: containers have one user, their root", are(&lacking));
        return Check::limited(id, text).mended_by("sudo apt-get install uidmap");
    }
    let powerless: Vec<&str> = names
        .iter()
        .zip(survey.helpers)
        .filter(|(_, found)| *found == Some(false))
        .map(|(name, _)| *name)
        .collect();
    if powerless.is_empty() {
        return Check::good(id, "newuidmap and newgidmap are installed, with their rights");
    }
    let text = format!("{} without rights: containers have one user, their root", are(&powerless));
    let mend = powerless.iter().map(|name| format!("sudo chmod u+s \"$(command -v {name})\""));
    Check::limited(id, text).mended_by(mend.collect::<Vec<_>>().join("\n"))
}

fn are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(" and "))
}

fn pasta(survey: &Survey) -> Check {
    if survey.pasta {
        Check::good("pasta", "pasta carries packets between containers and the outside")
    } else {
        Check::limited(
            "pasta",
            "pasta is not installed: containers reach nothing outside, builds download nothing",
        )
        .mended_by("sudo apt-get install passt")
    }
}

fn tun(survey: &Survey) -> Check {
    let id = "tun";
    let follows = "containers reach nothing outside";
    match survey.tun {
        Some(true) => Check::good(id, "/dev/net/tun may be opened"),
        Some(false) => Check::limited(id, format!("/dev/net/tun may not be opened by this user: {follows}"))
            .mended_by("sudo chmod 0666 /dev/net/tun"),
        None => Check::limited(id, format!("/dev/net/tun is not there: {follows}"))
            .mended_by("sudo modprobe tun && sudo chmod 0666 /dev/net/tun"),
    }
}

fn ports(survey: &Survey) -> Check {
    let id = "low-ports";
    match survey.first_port {
        Some(first) if first > WEB => {
            Check::limited(id, format!("ports below {first} cannot be published by a normal user"))
                .mended_by(setting(&format!("net.ipv4.ip_unprivileged_port_start={WEB}")))
        }
        Some(first) => Check::good(id, format!("ports from {first} on can be published")),
        None => Check::good(id, "this kernel says nothing of ports that are root's"),
    }
}

fn ping(survey: &Survey) -> Check {
    let id = "ping";
    match survey.ping_groups {
        Some((first, last)) if !(first..=last).contains(&survey.gid) => Check::limited(
            id,
            "this user may not ping: containers ping each other, but nothing outside (net.ipv4.ping_group_range)",
        )
        .mended_by(setting("net.ipv4.ping_group_range=0 2147483647")),
        Some(_) | None => Check::good(id, "containers may ping what is outside"),
    }
}

fn runtime_directory(survey: &Survey) -> Check {
    let id = "runtime-directory";
    let (path, is_ours) = &survey.run_root;
    if *is_ours {
        Check::good(id, format!("sockets lie in {}", path.display()))
    } else {
        let text =
            format!("XDG_RUNTIME_DIR names no directory of this user: sockets lie in {}", path.display());
        Check::limited(id, text).mended_by(format!(
            "sudo loginctl enable-linger {} && export XDG_RUNTIME_DIR=/run/user/{}",
            survey.subordinates.name, survey.uid
        ))
    }
}

fn session(survey: &Survey) -> Check {
    let id = "session";
    match survey.lingers {
        Some(false) => Check::limited(id, "containers end with this user's last session")
            .mended_by(format!("sudo loginctl enable-linger {}", survey.subordinates.name)),
        Some(true) => Check::good(id, "containers go on after this user's last session"),
        None => Check::good(id, "no systemd ends processes with a session"),
    }
}

/// Judges control groups for a normal user: limits need one that the user may divide.
pub(super) fn cgroups(survey: &Survey) -> Check {
    let id = "control-groups";
    let follows = "limits of containers are not enforced";
    if survey.delegated {
        return Check::good(id, "this user has a control group of its own");
    }
    if survey.unified() {
        return Check::limited(id, format!("this user has no control group of its own: {follows}"));
    }
    Check::limited(id, format!("control groups of version 1 cannot be given to a normal user: {follows}"))
        .mended_by(
            "echo 'GRUB_CMDLINE_LINUX=\"systemd.unified_cgroup_hierarchy=1\"' | sudo tee -a /etc/default/grub && sudo update-grub && sudo reboot",
        )
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::checks::tests::{healthy, of};

    #[test]
    fn what_a_user_lacks_is_told_with_its_remedy() {
        let mut survey = healthy(1000);
        survey.subordinates.users.clear();
        survey.helpers = [None, Some(false)];
        survey.pasta = false;
        survey.tun = Some(false);
        survey.first_port = Some(1024);
        survey.ping_groups = Some((1, 0));
        survey.delegated = false;
        survey.lingers = Some(false);
        survey.run_root.1 = false;
        let remedy = |id: &str| {
            let check = of(&survey, id);
            assert_eq!(check.state, State::Limited, "{id}");
            check.remedy.unwrap_or_default()
        };
        assert_eq!(
            remedy("subordinate-ids"),
            "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 anna"
        );
        assert_eq!(remedy("id-helpers"), "sudo apt-get install uidmap");
        assert_eq!(remedy("pasta"), "sudo apt-get install passt");
        assert_eq!(remedy("tun"), "sudo chmod 0666 /dev/net/tun");
        assert!(remedy("low-ports").contains("net.ipv4.ip_unprivileged_port_start=80"));
        assert!(remedy("ping").contains("ping_group_range=0 2147483647"));
        assert!(remedy("session").contains("enable-linger anna"));
        assert!(remedy("runtime-directory").contains("/run/user/1000"));
        assert_eq!(remedy("control-groups"), "");
        survey.helpers = [Some(true), Some(false)];
        assert_eq!(
            of(&survey, "id-helpers").remedy.as_deref(),
            Some("sudo chmod u+s \"$(command -v newgidmap)\"")
        );
    }

    #[test]
    fn without_namespaces_nothing_works() {
        for change in [
            |survey: &mut super::Survey| survey.user_namespaces = Some(0),
            |survey: &mut super::Survey| survey.unprivileged_clone = Some(0),
        ] {
            let mut survey = healthy(1000);
            change(&mut survey);
            let check = of(&survey, "unprivileged-namespaces");
            assert_eq!(check.state, State::Missing);
            assert!(check.remedy.is_some());
        }
    }
}
