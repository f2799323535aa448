"""The guard: everything that stands between the network and the application, and refuses what could harm it."""
