import NetmapCore
import Testing

@Suite("Binding flags")
struct BindingFlagsTests {
  @Test(
    "flags have netmap's bits",
    arguments: [
      (.monitorTransmit, 0x100), (.monitorReceive, 0x200), (.zeroCopyMonitor, 0x400),
      (.exclusive, 0x800), (.receiveOnly, 0x2000), (.transmitOnly, 0x4000),
      (.acceptVirtioNetHeader, 0x8000), (.doReceivePoll, 0x10000), (.noTransmitPoll, 0x20000),
    ] as [(BindingFlags, UInt64)])
  func bits(flag: BindingFlags, bit: UInt64) {
    #expect(flag.rawValue == bit)
  }

  @Test("unknown bits are kept as given", arguments: [0x1000, 0x8000_0000_0000_0001])
  func unknownBits(raw: UInt64) {
    var flags = BindingFlags(rawValue: raw)
    flags.insert(.exclusive)
    #expect(flags.rawValue == raw | 0x800)
    #expect(!flags.isMonitor)
  }

  @Test("netmap's bits are those below 0x40000")
  func known() {
    #expect(BindingFlags.known.rawValue == 0x3ffff)
  }

  @Test("bits of nr_flags that netmap does not have change nothing", arguments: 18..<64)
  func strayBits(bit: Int) throws {
    let engine = try Engine()
    let stray = BindingFlags(rawValue: 1 << UInt64(bit))
    let port = try TestPort(engine, "vale0:a", flags: stray)
    #expect(port.mapped.record.flags == [])
    #expect(port.mapped.record.extensions == [])
    #expect(try engine.answer(.next(switch: 0, port: 0)).name == "vale0:a")
    _ = try TestPort(engine, "p{1", flags: stray)
  }

  @Test(
    "each monitor flag selects a monitor",
    arguments: [.monitorTransmit, .monitorReceive, .zeroCopyMonitor] as [BindingFlags])
  func monitors(flag: BindingFlags) {
    #expect(flag.union(.exclusive).isMonitor)
    #expect(BindingFlags.anyMonitor.contains(flag))
    #expect(!BindingFlags.anyMonitor.symmetricDifference(.anyMonitor).isMonitor)
  }
}
