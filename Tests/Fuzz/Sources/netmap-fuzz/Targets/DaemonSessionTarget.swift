extension FuzzTarget {
  /// Steps of a peer: connections, hellos, requests in any order, odd messages and descriptors, closes.
  ///
  /// The daemon serves all inputs of a run, so an input alone may not repeat what a sequence of inputs has
  /// caused. A fault in one of the daemon's threads may end the process before the fuzzer saves the input; it
  /// is in `/tmp/netmap-fuzz-PROCESS/input` then.
  static let daemonSession = FuzzTarget(
    name: "daemon-session", subject: "sequences of messages to a netmapd that serves sockets"
  ) { bytes in
    guard !bytes.isEmpty else { return }
    FuzzedDaemon.shared.attack(bytes)
  }
}
