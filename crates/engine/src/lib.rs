//! The composition root: one service per noun, and the adapters of the ports.
