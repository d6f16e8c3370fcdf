//! Throwaway namespaces, loopback servers and world fixtures for tests.
