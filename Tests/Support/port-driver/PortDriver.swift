import Glibc
import Netmap

/// Drives a port in a separate process, so that tests can kill it and compare rates:
///
///     port-driver hold PORT
///     port-driver send PORT SECONDS [LENGTH [BATCH]]
///     port-driver receive PORT SECONDS
///     port-driver forward PORT PORT SECONDS
///     port-driver churn PORT [TIMES]
///     port-driver open PORT [TIMES]
///     port-driver bridge PORT PORT [spin]
///     port-driver serve|tcp|udp|ping ...     (HostTraffic.swift)
///
/// The engine is one of its own; with NETMAP_SOCKET in the environment, that of a daemon.
///
/// Prints `ready` once the port is open, and its counters at the end. `churn` opens and closes the port
/// repeatedly, with some traffic in between; it prints `ready` before the first time.
@main
struct PortDriver {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count >= 3 else {
      fail("usage: port-driver hold|send|receive|forward|churn PORT ...")
    }
    do {
      switch arguments[1] {
      case "hold":
        let port = try open(arguments[2])
        say("ready: \(port.backend?.description ?? "no backend")")
        while true { _ = try port.wait(for: .receive); port.receiveRing(0).discardAll() }
      case "send":
        try send(
          try open(arguments[2]), seconds: number(3, 1), length: number(4, 60),
          batch: number(5, 64))
      case "receive":
        try receive(try open(arguments[2]), seconds: number(3, 1))
      case "forward":
        try forward(
          try open(arguments[2]), try open(arguments[3]), seconds: number(4, 1))
      case "churn":
        say("ready")
        for _ in 0..<number(3, .max) { try churn(try open(arguments[2])) }
      case "open": try time(arguments[2], count: number(3, 20))
      case "bridge":
        try bridge(
          try open(arguments[2]), try open(arguments[3]),
          spins: arguments.count > 4 && arguments[4] == "spin")
      case "serve": try HostTraffic.serve(port: UInt16(number(2, 0)))
      case "tcp": try HostTraffic.stream(to: arguments[2], port: 7000, bytes: number(3, 1 << 20))
      case "udp":
        try HostTraffic.datagrams(
          to: arguments[2], port: 7000, length: number(3, 64), number(4, 10))
      case "ping":
        try HostTraffic.ping(arguments[2], count: number(3, 10), length: number(4, 56))
      default:
        fail("unknown command \(arguments[1])")
      }
    } catch {
      fail("\(error)")
    }
  }

  /// Opens a port in this process, or on the daemon that NETMAP_SOCKET names.
  static func open(_ name: String) throws -> NetmapPort {
    guard unsafe getenv("NETMAP_SOCKET") != nil else { return try NetmapPort(name) }
    return try NetmapPort(name, engine: HostEngine.shared)
  }

  static func send(_ port: NetmapPort, seconds: Int, length: Int, batch: Int) throws {
    say("ready: \(port.backend?.description ?? "")")
    prepare(port, length)
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    while clock.now < end {
      for _ in 0..<16 {
        var ring = port.transmitRing(0)
        var left = min(batch, ring.space)
        if left == 0 {
          _ = try port.wait(for: .transmit, timeout: .milliseconds(10))
          continue
        }
        while left > 0, ring.append(length: length) { left -= 1 }
        try port.sync(.transmit)
      }
    }
    report("sent", port.statistics.transmit, seconds)
  }

  /// Writes a frame with an experimental EtherType into every buffer of the ring.
  static func prepare(_ port: NetmapPort, _ length: Int) {
    var ring = port.transmitRing(0)
    while ring.append(
      length: length,
      { bytes in
        for (index, byte) in [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 0x88, 0xb5].enumerated() {
          bytes.storeBytes(of: UInt8(byte), toByteOffset: index, as: UInt8.self)
        }
      })
    {}
  }

  static func receive(_ port: NetmapPort, seconds: Int) throws {
    say("ready: \(port.backend?.description ?? "")")
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    while clock.now < end {
      _ = try port.wait(for: .receive, timeout: .milliseconds(50))
      for index in 0..<port.receiveRingCount {
        var ring = port.receiveRing(index)
        ring.skip()
      }
    }
    try port.sync(.receive)
    report("received", port.statistics.receive, seconds)
  }

  static func forward(_ source: NetmapPort, _ target: NetmapPort, seconds: Int) throws {
    say("ready: \(source.backend?.description ?? "")")
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    while clock.now < end {
      _ = try source.wait(for: .receive, timeout: .milliseconds(50))
      var input = source.receiveRing(0)
      var output = target.transmitRing(0)
      input.forward(to: &output)
      try target.sync(.transmit)
    }
    report("forwarded", target.statistics.transmit, seconds)
  }

  /// Opens and closes a port repeatedly, and prints how long that takes: medians.
  static func time(_ name: String, count: Int) throws {
    let clock = ContinuousClock()
    var (opens, closes): ([Duration], [Duration]) = ([], [])
    for _ in 0..<count {
      let start = clock.now
      let port = try open(name)
      let opened = clock.now
      port.close()
      opens.append(opened - start)
      closes.append(clock.now - opened)
    }
    let medians = [opens, closes].map { Int($0.sorted()[count / 2] / .microseconds(1)) }
    say("ok open \(medians[0]) us, close \(medians[1]) us")
  }

  /// Forwards packets between two ports, in both directions, until it is killed.
  static func bridge(_ first: NetmapPort, _ second: NetmapPort, spins: Bool) throws {
    say("ready: \(first.backend?.description ?? "")")
    let poller = Poller()
    while true {
      var items = [PollItem(first, for: .receive), PollItem(second, for: .receive)]
      if try move(first, second) || move(second, first) {
        items = [PollItem(first, for: .transmit), PollItem(second, for: .transmit)]
      }
      if spins {
        for port in [first, second] {
          for direction in Direction.allCases { try port.sync(direction) }
        }
      } else {
        _ = try poller.wait(for: &items, timeout: .milliseconds(100))
      }
    }
  }

  /// - Returns: Whether packets are left that found no room.
  static func move(_ source: NetmapPort, _ target: NetmapPort) throws -> Bool {
    var isLeft = false
    for index in 0..<source.receiveRingCount {
      var input = source.receiveRing(index)
      guard !input.isEmpty else { continue }
      var output = target.transmitRing(index % target.transmitRingCount)
      input.forward(to: &output)
      isLeft = isLeft || !input.isEmpty
    }
    try target.sync(.transmit)
    return isLeft
  }

  /// Moves packets in both directions for some milliseconds, then closes the port.
  static func churn(_ port: NetmapPort) throws {
    prepare(port, 60)
    for _ in 0..<5 {
      try port.wait(for: .receive, timeout: .milliseconds(1))
      for index in 0..<port.receiveRingCount { port.receiveRing(index).discardAll() }
      var ring = port.transmitRing(0)
      for _ in 0..<10 { _ = ring.append(length: 60) }
      try port.sync(.transmit)
    }
  }

  static func report(_ what: String, _ counters: RingCounters, _ seconds: Int) {
    say(
      "\(what) \(counters.packets) packets, \(counters.packets / UInt64(seconds) / 1000) kpps,"
        + " \(counters.systemCalls) system calls, \(counters.syncs) syncs,"
        + " \(counters.drops.total) drops, \(counters.retries) retries")
  }

  static func number(_ index: Int, _ standard: Int) -> Int {
    CommandLine.arguments.count > index ? Int(CommandLine.arguments[index]) ?? standard : standard
  }

  static func say(_ text: String) {
    let bytes = [UInt8]((text + "\n").utf8)
    _ = unsafe write(1, bytes, bytes.count)
  }

  static func fail(_ text: String) -> Never {
    let bytes = [UInt8](("port-driver: " + text + "\n").utf8)
    _ = unsafe write(2, bytes, bytes.count)
    exit(1)
  }
}

extension ReceiveRing {
  consuming func discardAll() {
    var ring = self
    ring.skip()
  }
}
