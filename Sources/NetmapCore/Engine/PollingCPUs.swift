internal import Glibc

/// Which threads poll the rings of an interface on a switch: `VALE_POLLING_ENABLE`.
public enum PollingCPUs: Hashable, Sendable {
  /// All rings by one thread, on this CPU (`NETMAP_POLLING_MODE_SINGLE_CPU`).
  case one(Int)
  /// Ring pair *i* by a thread on CPU *i*, for `count` numbers from `first` on
  /// (`NETMAP_POLLING_MODE_MULTI_CPU`); the others stay with the worker.
  case each(first: Int, count: Int)

  /// - Parameters:
  ///   - rings: Receive rings of the interface.
  ///   - name: What messages name.
  /// - Throws: ``NetmapError`` `EINVAL` for numbers that no such interface or machine has.
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
      throw refusal("\(count) CPUs from CPU \(first) on are none", "name 1 CPU or more")
    }
    guard count < online else {
      throw refusal(
        "\(count) polling threads would leave none of the \(online) CPUs to others",
        "name fewer CPUs")
    }
    guard case .each = self, first >= rings || count > rings - first else { return }
    throw refusal(
      "it has \(rings) ring pairs, and not \(count) from number \(first) on",
      "name CPUs that are numbers of ring pairs")
  }

  /// The threads to start: where each runs, and which ring pairs it has.
  func plan(lanes: Int) -> [(cpu: Int, lanes: Range<Int>)] {
    switch self {
    case .one(let cpu): [(cpu, 0..<lanes)]
    case .each(let first, let count): (first..<first + count).map { ($0, $0..<$0 + 1) }
    }
  }
}
