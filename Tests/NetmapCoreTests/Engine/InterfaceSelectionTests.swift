import NetmapCore
import Testing

@Suite("Interfaces: which rings a binding holds")
struct RingSelectionBindingTests {
  /// Ring numbers of a port with 3 + 1 transmit and 2 + 2 receive rings.
  struct Choice: Sendable, CustomTestStringConvertible {
    let selection: RingSelection
    let transmit: Range<Int>
    let receive: Range<Int>
    var testDescription: String { "\(selection)" }
  }

  static let choices: [Choice] = [
    Choice(selection: .allHardware, transmit: 0..<3, receive: 0..<2),
    Choice(selection: .host, transmit: 3..<4, receive: 2..<4),
    Choice(selection: .hardwareAndHost, transmit: 0..<4, receive: 0..<4),
    Choice(selection: .oneHardware(0), transmit: 0..<1, receive: 0..<1),
    Choice(selection: .oneHardware(1), transmit: 1..<2, receive: 1..<2),
    // Only transmit has a ring 2: receive falls back to ring 0.
    Choice(selection: .oneHardware(2), transmit: 2..<3, receive: 0..<1),
    Choice(selection: .oneHost(0), transmit: 3..<4, receive: 2..<3),
    // Only receive has a host ring 1: transmit falls back to host ring 0.
    Choice(selection: .oneHost(1), transmit: 3..<4, receive: 3..<4),
  ]

  static let restrictions: [BindingFlags] = [
    [], .transmitOnly, .receiveOnly, [.transmitOnly, .receiveOnly],
  ]

  @Test("every mode, in both directions, in one, and in none", arguments: choices, restrictions)
  func ranges(choice: Choice, flags: BindingFlags) throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0", choice.selection, flags: flags)
    let transmit = flags.contains(.receiveOnly) ? [] : Array(choice.transmit)
    let receive = flags.contains(.transmitOnly) ? [] : Array(choice.receive)
    #expect(
      (0..<port.mapped.transmitCount).map { Int(port.tx($0).field(16, as: UInt16.self)) }
        == transmit)
    #expect(
      (0..<port.mapped.receiveCount).map { Int(port.rx($0).field(16, as: UInt16.self)) }
        == receive)
    #expect(port.registration.geometry == .fake, "the answer has the geometry of the whole port")
    #expect(port.mapped.record.flags == flags)
  }

  @Test("exclusive: only an overlap of rings conflicts", arguments: choices, choices)
  func exclusive(first: Choice, second: Choice) throws {
    for flags in Self.restrictions where !flags.contains([.transmitOnly, .receiveOnly]) {
      let engine = try Engine(interfaces: FakeInterfaces())
      let owner = try TestPort(engine, "fake0", first.selection, flags: .exclusive)
      let overlaps =
        !flags.contains(.receiveOnly) && first.transmit.overlaps(second.transmit)
        || !flags.contains(.transmitOnly) && first.receive.overlaps(second.receive)
      if overlaps {
        let error = #expect(throws: NetmapError.self) {
          try TestPort(engine, "fake0", second.selection, flags: flags)
        }
        #expect(error?.code == .busy)
        #expect(error?.description.contains("fake0") == true)
      } else {
        _ = try TestPort(engine, "fake0", second.selection, flags: flags)
      }
      owner.close()
      _ = try TestPort(engine, "fake0", second.selection, flags: flags.union(.exclusive))
    }
  }

  @Test("a port without rings in one direction binds the other")
  func oneWay() throws {
    let engine = try Engine(
      interfaces: FakeInterfaces([
        "tx0": PortGeometry(transmitRings: 2, receiveRings: 0, transmitSlots: 4)
      ]))
    let port = try TestPort(engine, "tx0", .oneHardware(1))
    #expect(port.mapped.transmitCount == 1)
    #expect(port.mapped.receiveCount == 0)
    #expect(
      port.mapped.scan(.receive).isEmpty, "a port without receive rings is never ready for input")
  }
}
