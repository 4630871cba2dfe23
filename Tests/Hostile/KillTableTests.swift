import Glibc
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

@testable import Netmap

/// Kills a process after each instruction of an operation.
///
/// Tests every instruction with `NETMAP_HOSTILE_ROUNDS` of 200 or more, otherwise a sample.
@Suite("Killed at an instruction", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct KillTableTests {
  private func frame(from sender: UInt8, _ number: UInt8) -> [UInt8] {
    [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, sender, 0x88, 0xb5, number]
      + [UInt8](repeating: sender ^ number, count: 45)
  }

  /// The sender and number of each packet that has arrived.
  ///
  /// Empty packets are slots that dead senders had reserved.
  private func take(_ port: NetmapPort, _ context: String) throws -> [[UInt8]] {
    try port.sync(.receive)
    var result: [[UInt8]] = []
    var ring = port.receiveRing(0)
    while let packet = ring.next() {
      guard packet.bytes.byteCount > 0 else { continue }
      let bytes = (0..<packet.bytes.byteCount).map { packet.bytes[$0] }
      try #require(bytes.count == 60, "\(context): \(bytes)")
      #expect(bytes == frame(from: bytes[11], bytes[14]), "\(context): \(bytes)")
      result.append([bytes[11], bytes[14]])
    }
    try port.sync(.receive)
    return result
  }

  private func send(_ port: NetmapPort, from sender: UInt8, _ numbers: Range<UInt8>) throws {
    for number in numbers { try port.inject(frame(from: sender, number)) }
    try port.sync(.transmit)
  }

  /// Calls `body` after each kill of the operation, at each point.
  private func forEachPoint(
    _ testbed: HostileTestbed, _ operation: String, _ prepare: () throws -> Void = {},
    _ body: (String) throws -> Void
  ) throws {
    func kill(after count: Int) throws -> Int {
      try prepare()
      let line = try testbed.attack("step \(operation) \(count)", by: []).line
      let words = line.split(separator: " ")
      let done = try #require(
        words.count == 3 && words[0] == "killed" ? Int(words[2]) : nil, "\(line)")
      testbed.endAttackers()
      try testbed.waitUntilClosed(but: kept)
      return done
    }
    let kept = try testbed.fixture.engine().check().bindings
    let all = try kill(after: 1 << 20)
    try body("\(operation), not killed in \(all) instructions")
    let step = hostileRounds >= 200 ? 1 : max(1, all / (24 * hostileRounds))
    var tried = 0
    // The random start makes the kills hit loops at different places.
    for point in stride(from: Int.random(in: 0..<step), to: all + 20, by: step) {
      _ = try kill(after: point)
      try body("\(operation), killed after \(point) of \(all) instructions")
      tried += 1
    }
    print("\(operation): killed at \(tried) of \(all) instructions")
  }

  @Test("a sender on a pipe: the receiver has a prefix, the next sender's packets arrive")
  func pipeTransmit() throws {
    try HostileTestbed.run(isolates: false, [.pipe], rounds: 1) { testbed in
      try testbed.withEngine { engine in
        let receiver = try NetmapPort("netmap:killed}1", engine: engine)
        try forEachPoint(testbed, "transmit,netmap:killed{1") { context in
          try testbed.fixture.expectSound(context)
          let next = try NetmapPort("netmap:killed{1", engine: engine)
          try send(next, from: 5, 0..<2)
          let arrived = try take(receiver, context)
          #expect(arrived.suffix(2) == [[5, 0], [5, 1]], "\(context): \(arrived)")
          let before = Array(arrived.dropLast(2))
          #expect(
            before == (0..<UInt8(before.count)).map { [0x77, $0] } && before.count <= 3,
            "\(context): \(arrived)")
        }
        receiver.close()
      }
      try testbed.waitUntilClosed()
      try testbed.expectRecovered("at the end")
    }
  }

  @Test("a receiver on a pipe: the next one finds the packets that it had not taken")
  func pipeReceive() throws {
    try HostileTestbed.run(isolates: false, [.pipe], rounds: 1) { testbed in
      try testbed.withEngine { engine in
        let sender = try NetmapPort("netmap:killed{1", engine: engine)
        try forEachPoint(
          testbed, "receive,netmap:killed}1", { try send(sender, from: 5, 0..<3) }
        ) { context in
          try testbed.fixture.expectSound(context)
          let next = try NetmapPort("netmap:killed}1", engine: engine)
          let arrived = try take(next, context)
          let all: [[UInt8]] = [[5, 0], [5, 1], [5, 2]]
          #expect(arrived == all || arrived == Array(all.dropFirst()), "\(context): \(arrived)")
          try send(sender, from: 6, 9..<10)
          #expect(try take(next, context) == [[6, 9]], "\(context)")
        }
        sender.close()
      }
      try testbed.waitUntilClosed()
      try testbed.expectRecovered("at the end")
    }
  }

  /// Expects that no buffer is in two slots of the ports' rings.
  private func expectApart(_ ports: [NetmapPort], _ context: String) {
    var places: [UInt32: [String]] = [:]
    func note(_ ring: Ring, _ name: String) {
      for slot in unsafe 0..<ring.slotCount {
        places[unsafe ring.load(slot).bufferIndex, default: []].append("\(name) slot \(slot)")
      }
    }
    for port in ports {
      unsafe note(port.mapped.transmit(0).ring, "\(port.name) transmit")
      unsafe note(port.mapped.receive(0).ring, "\(port.name) receive")
    }
    let twice = places.filter { $0.value.count > 1 }
    #expect(twice.isEmpty, "\(context): \(twice)")
  }

  @Test("a forwarder: each buffer is in one slot, each packet arrives once; the next one continues")
  func forward() throws {
    try HostileTestbed.run(isolates: false, [.pipe], rounds: 1) { testbed in
      try testbed.withEngine { engine in
        let feeder = try NetmapPort("netmap:killed{1", engine: engine)
        let sink = try NetmapPort("netmap:killed}2", engine: engine)
        func pass(_ source: NetmapPort, _ target: NetmapPort, _ context: String) throws -> [[UInt8]]
        {
          try source.sync(.receive)
          var input = source.receiveRing(0)
          var output = target.transmitRing(0)
          input.forward(to: &output)
          try target.sync(.transmit)
          try source.sync(.receive)
          return try take(sink, context)
        }
        var stages: [Int: Int] = [:]
        try forEachPoint(
          testbed, "forward,netmap:killed}1,netmap:killed{2", { try send(feeder, from: 5, 0..<3) }
        ) { context in
          // Every buffer that is not free has a known place, and only one.
          try testbed.fixture.expectSound(context)
          let source = try NetmapPort("netmap:killed}1", engine: engine)
          let target = try NetmapPort("netmap:killed{2", engine: engine)
          // Two ports of one pipe end show the same buffers.
          expectApart([source, target], context)
          expectApart([feeder, sink], context)
          try source.sync(.receive)
          stages[3 - source.receiveRing(0).count, default: 0] += 1
          let arrived = try pass(source, target, context)
          #expect(arrived == (0..<3).map { [5, $0] }, "\(context): \(arrived)")
          try send(feeder, from: 6, 9..<10)
          let next = try pass(source, target, context)
          #expect(next == [[6, 9]], "\(context): \(next)")
          try testbed.fixture.expectSound(context)
        }
        print("forward: packets moved before the kill, and how often: \(stages)")
        // Kills before, during and after the exchange.
        #expect(stages.count > 2, "\(stages)")
        feeder.close()
        sink.close()
      }
      try testbed.waitUntilClosed()
      try testbed.expectRecovered("at the end")
    }
  }

  @Test("a sender on a switch: no unread packets are changed, and packets go on arriving")
  func switchTransmit() throws {
    try HostileTestbed.run(isolates: false, [.pipe], rounds: 1) { testbed in
      try testbed.withEngine { engine in
        let receivers = try (0..<3).map { try NetmapPort("vale7:r\($0)", engine: engine) }
        let other = try NetmapPort("vale7:other", engine: engine)
        try forEachPoint(
          testbed, "transmit,vale7:killed", { try send(other, from: 5, 0..<5) }
        ) { context in
          try testbed.fixture.expectSound(context)
          _ = try take(other, context)
          try send(other, from: 6, 9..<10)
          for receiver in receivers {
            let arrived = try take(receiver, context)
            #expect(
              Array(arrived.prefix(5)) == (0..<UInt8(5)).map { [5, $0] },
              "\(context), \(receiver.name): \(arrived)")
            #expect(arrived.last == [6, 9], "\(context), \(receiver.name): \(arrived)")
            let between = Array(arrived.dropFirst(5).dropLast())
            #expect(
              between == (0..<UInt8(between.count)).map { [0x77, $0] },
              "\(context), \(receiver.name): \(arrived)")
          }
        }
        for port in receivers + [other] { port.close() }
      }
      try testbed.waitUntilClosed()
      try testbed.expectRecovered("at the end")
    }
  }
}
