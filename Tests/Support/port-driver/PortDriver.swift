import Glibc
import Netmap

/// Drives a port in a separate process, so that tests can kill it and compare rates:
///
///     port-driver hold PORT
///     port-driver send PORT SECONDS [LENGTH [BATCH]]
///     port-driver receive PORT SECONDS
///     port-driver forward PORT PORT SECONDS
///     port-driver churn PORT [TIMES]
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
        let port = try NetmapPort(arguments[2])
        say("ready: \(port.backend?.description ?? "no backend")")
        while true { _ = try port.wait(for: .receive); port.receiveRing(0).discardAll() }
      case "send":
        try send(
          try NetmapPort(arguments[2]), seconds: number(3, 1), length: number(4, 60),
          batch: number(5, 64))
      case "receive":
        try receive(try NetmapPort(arguments[2]), seconds: number(3, 1))
      case "forward":
        try forward(
          try NetmapPort(arguments[2]), try NetmapPort(arguments[3]), seconds: number(4, 1))
      case "churn":
        say("ready")
        for _ in 0..<number(3, .max) { try churn(try NetmapPort(arguments[2])) }
      default:
        fail("unknown command \(arguments[1])")
      }
    } catch {
      fail("\(error)")
    }
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
