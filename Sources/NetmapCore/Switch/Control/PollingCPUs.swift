internal import Glibc

/// Which threads poll the rings of an interface on a switch: `VALE_POLLING_ENABLE`.
public enum PollingCPUs: Hashable, Sendable {
  /// One thread, on this CPU, polls all rings (`NETMAP_POLLING_MODE_SINGLE_CPU`).
  case one(Int)
  /// A thread on CPU *i* polls ring pair *i*, for `count` numbers from `first` on
  /// (`NETMAP_POLLING_MODE_MULTI_CPU`). The worker serves the other pairs.
  case each(first: Int, count: Int)

  /// Checks the numbers against the interface and this machine.
  ///
  /// - Parameters:
  ///   - rings: Receive rings of the interface.
  ///   - name: The port's name, for messages.
  /// - Throws: ``NetmapError`` `EINVAL` for no CPU at all, for so many threads that they would
  ///   leave no CPU free, and for ring pairs that the interface does not have.
  func check(rings: Int, of name: PortName) throws(NetmapError) {
    let online = Int(sysconf(CInt(_SC_NPROCESSORS_ONLN)))
    let (first, count) =
      switch self {
      case .one(let cpu): (cpu, 1)
      case .each(let first, let count): (first, count)
      }
    func refusal(_ reason: String, _ remedy: String) -> NetmapError {
      NetmapError(.invalidArgument, "poll", name.rawValue, reason: reason, remedy: remedy)
    }
    guard first >= 0, count > 0 else {
      throw refusal("there are no \(count) CPUs from CPU \(first) on", "name 1 CPU or more")
    }
    guard count < online else {
      throw refusal(
        "\(count) polling threads on \(online) CPUs would leave no CPU for other threads",
        "name fewer CPUs")
    }
    guard case .each = self, first >= rings || count > rings - first else { return }
    throw refusal(
      "it has \(rings) ring pairs: there are no \(count) from number \(first) on",
      "name CPUs with the numbers of its ring pairs")
  }

  /// The threads to start: the CPU of each, and the ring pairs that it polls.
  func plan(lanes: Int) -> [(cpu: Int, lanes: Range<Int>)] {
    switch self {
    case .one(let cpu): [(cpu, 0..<lanes)]
    case .each(let first, let count): (first..<first + count).map { ($0, $0..<$0 + 1) }
    }
  }
}
