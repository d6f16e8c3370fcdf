//! Address plan and rule set as data; netlink, nftables, DNS and published ports apply them.
