import NetmapCore
import Testing

@Suite("Ring selection")
struct RingSelectionTests {
  /// The NR_REG_* numbers of netmap(4).
  static let numbers: [(RingSelection, mode: UInt32, ringID: UInt16)] = [
    (.allHardware, 1, 0),
    (.host, 2, 0),
    (.hardwareAndHost, 3, 0),
    (.oneHardware(5), 4, 5),
    (.null, 7, 0),
    (.oneHost(6), 8, 6),
    (.oneHardware(.max), 4, .max),
  ]

  @Test("modes have netmap's numbers, both ways", arguments: numbers)
  func bothWays(selection: RingSelection, mode: UInt32, ringID: UInt16) throws {
    #expect(selection.rawMode == mode)
    #expect(selection.ringID == ringID)
    #expect(try RingSelection(rawMode: mode, ringID: ringID) == selection)
  }

  @Test("the ring number counts only where one ring is selected", arguments: [1, 2, 3, 7])
  func ignoredRingNumber(mode: UInt32) throws {
    #expect(try RingSelection(rawMode: mode, ringID: 9).ringID == 0)
  }

  @Test(
    "default, pipe and unknown modes are invalid",
    arguments: [
      (0, "legacy"), (5, "pipe modes"), (6, "pipe modes"), (9, "unknown mode"),
      (.max, "unknown mode"),
    ] as [(UInt32, String)])
  func invalidModes(mode: UInt32, reason: String) {
    let error = #expect(throws: NetmapError.self) { try RingSelection(rawMode: mode, ringID: 0) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.subject == "nr_mode \(mode)")
    #expect(error?.reason.contains(reason) == true)
    #expect(error?.remedy.isEmpty == false)
  }

  @Test("every selection has its own description")
  func words() {
    let words = Set(Self.numbers.map(\.0.description))
    #expect(words.count == Self.numbers.count)
    #expect(RingSelection.oneHost(6).description == "host ring 6")
  }
}
