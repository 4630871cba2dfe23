internal import Foundation
import NetmapCore
import Testing

/// Random port names and requests. A failure names its seed; set `NETMAP_TEST_SEED` to it to see
/// the failure again.
@Suite("Port specifications: random texts and values")
struct PortSpecificationRandomTests {
  private static let seed: UInt64 = {
    let given = ProcessInfo.processInfo.environment["NETMAP_TEST_SEED"].flatMap { UInt64($0) }
    let seed = given ?? UInt64.random(in: 0...UInt64.max)
    print("port names: NETMAP_TEST_SEED=\(seed)")
    return seed
  }()

  private let seed = Self.seed

  /// Like `#expect`, but free while the condition holds, because these loops are long.
  private func check(_ condition: Bool, _ context: @autoclosure () -> String) {
    if !condition { Issue.record("\(context()), seed \(seed)") }
  }

  @Test("the description of every value parses to an equal value")
  func roundTrip() throws {
    var source = Source(seed: seed)
    for _ in 0..<8_000 {
      let value = try source.specification()
      let again = try PortSpecification.parse(bytes: value.bytes, enabling: [.offset])
      check(again == value, "\(value)")
      let text = value.description
      guard text.utf8.elementsEqual(value.bytes) else { continue }
      let reread = try PortSpecification.parse(text, enabling: [.offset])
      check(reread == value, text)
    }
  }

  @Test("no text makes the parser trap, and every refusal is complete")
  func fuzz() {
    var source = Source(seed: seed)
    var (accepted, refused) = (0, 0)
    for _ in 0..<25_000 {
      let text = source.text()
      let exists = Bool.random(using: &source.generator)
      do throws(NetmapError) {
        let value = try PortSpecification.parse(
          bytes: text, enabling: [.offset], interfaceExists: { _ in exists })
        accepted += 1
        let again = try PortSpecification.parse(bytes: value.bytes, enabling: [.offset])
        check(again == value && again.bytes == value.bytes, "\(text)")
      } catch {
        refused += 1
        let isComplete =
          error.code == .invalidArgument && !error.subject.isEmpty && !error.reason.isEmpty
          && !error.remedy.isEmpty && !error.description.contains(where: \.isNewline)
        check(isComplete, "\(error) for \(text)")
      }
    }
    // The texts must include many of both kinds.
    #expect(accepted > 2_500 && refused > 2_500, "\(accepted) accepted, \(refused) refused")
  }

  @Test("a kernel name is its parent, its bracket and its pipe")
  func recomposition() {
    var source = Source(seed: seed)
    for _ in 0..<20_000 {
      let bytes = source.nameBytes()
      guard let name = try? PortName(bytes: bytes) else { continue }
      check(name.bytes == bytes, "\(bytes)")
      if let pipe = name.pipe {
        let bracket = UInt8(ascii: pipe.role == .master ? "{" : "}")
        check(name.base.bytes + [bracket] + pipe.idBytes == bytes, "\(bytes)")
        check((try? PortName(bytes: name.base.bytes)) == name.base, "\(bytes)")
      } else {
        check(name.base == name, "\(bytes)")
      }
    }
  }
}

/// Draws names, values and texts from one seed.
private struct Source {
  /// SplitMix64: small, and the same on every machine.
  struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var mixed = state
      mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      return mixed ^ (mixed >> 31)
    }
  }

  var generator: Generator

  init(seed: UInt64) {
    generator = Generator(state: seed)
  }

  private static let alphabet = [UInt8]("abvalenetmap019_:.'{}-*^/@,= \u{e9}".utf8) + [0xff, 0x0a]

  private mutating func chance(_ oneIn: Int) -> Bool {
    Int.random(in: 0..<oneIn, using: &generator) == 0
  }

  private mutating func pick<Element>(_ elements: [Element], or other: Element) -> Element {
    elements.randomElement(using: &generator) ?? other
  }

  private mutating func bytes(upTo count: Int) -> [UInt8] {
    (0..<Int.random(in: 0...count, using: &generator)).map { _ in
      chance(30) ? UInt8.random(in: 0...255, using: &generator) : pick(Self.alphabet, or: 0)
    }
  }

  mutating func nameBytes() -> [UInt8] {
    let start = pick(["", "", "vale0:", "vale:", "eth0", "br-lan", "a{b"], or: "")
    return [UInt8](start.utf8) + bytes(upTo: chance(10) ? 70 : 8)
  }

  private mutating func name() -> PortName {
    while true {
      if let name = try? PortName(bytes: nameBytes()) { return name }
    }
  }

  private mutating func number<Number: FixedWidthInteger & UnsignedInteger>(
    below limit: Number = .max
  ) -> Number {
    // Half of the numbers are small, so that a value often has equal numbers and zeros.
    Number.random(in: 0..<(chance(2) ? 3 : limit), using: &generator)
  }

  mutating func specification() throws -> PortSpecification {
    let ring: UInt16 = number(below: 4095)
    let selections: [RingSelection] = [
      .allHardware, .host, .hardwareAndHost, .oneHardware(ring), .oneHost(ring),
    ]
    let selection = pick(selections, or: .allHardware)
    let letters: [BindingFlags] = [
      .exclusive, .zeroCopyMonitor, .monitorTransmit, .monitorReceive, .receiveOnly, .transmitOnly,
    ]
    var value = PortSpecification(name(), selection: selection, memoryID: number())
    for flag in letters where chance(4) { value.flags.insert(flag) }
    if chance(3) { value.sharedPort = name() }
    if chance(2) {
      value.conf = RingGeometryHints(
        transmitSlots: number(), receiveSlots: number(), transmitRings: number(),
        receiveRings: number(), hostTransmitRings: number(), hostReceiveRings: number())
    }
    if chance(3) { value.extmem = externalMemory() }
    if chance(3) {
      let bits: UInt8 = number(below: 65)
      value.offset = try PortSpecification.PayloadOffset(initial: number(), bits: bits)
    }
    if chance(3) {
      let mode = PortSpecification.BackendChoice.Mode.allCases.randomElement(using: &generator)
      let name = PortSpecification.BackendChoice.Name.allCases.randomElement(using: &generator)
      value.backpressure = chance(3)
      value.isIsolated = chance(3)
      value.backend = chance(3) ? mode.map { .init(mode: $0) } : name.map { .init($0, mode: mode) }
    }
    return value
  }

  private mutating func externalMemory() -> PortSpecification.ExternalMemory? {
    try? .init(
      file: String(decoding: bytes(upTo: 12), as: UTF8.self),
      interfaces: .init(count: number(), size: number()),
      rings: .init(count: number(), size: number()),
      buffers: .init(count: number(), size: number()))
  }

  /// Random bytes, or a valid text with a few bytes changed, doubled or removed.
  mutating func text() -> [UInt8] {
    if chance(10) { return bytes(upTo: 100) }
    if chance(10) { return [UInt8](pick(["netmap:", "vale0:"], or: "").utf8) + bytes(upTo: 40) }
    guard var text = try? specification().bytes else { return [] }
    for _ in 0..<Int.random(in: 0...3, using: &generator) where !text.isEmpty {
      let index = Int.random(in: 0..<text.count, using: &generator)
      switch Int.random(in: 0..<4, using: &generator) {
      case 0: text[index] = pick(Self.alphabet, or: 0)
      case 1: text.insert(pick(Self.alphabet, or: 0), at: index)
      case 2: text.remove(at: index)
      default: text.insert(contentsOf: text[index...].prefix(6), at: index)
      }
    }
    return text
  }
}
