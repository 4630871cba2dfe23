import NetmapCore
import NetmapTestSupport
import Synchronization

extension TestSwitch {
  /// Chooses the switch's module.
  @discardableResult
  func choose(_ choice: SwitchModuleChoice) throws -> SwitchModuleReport {
    try report(engine.answer(.module("vale0", .choose(choice))))
  }

  func report() throws -> SwitchModuleReport {
    try report(engine.answer(.module("vale0", .report)))
  }

  private func report(_ answer: SwitchAnswer) throws -> SwitchModuleReport {
    guard let report = answer.module else { throw MissingReport() }
    return report
  }

  /// Installs a module of the test.
  func install<Module: SwitchModule & ~Copyable>(_ module: consuming Module) throws {
    try install(LoadedModule(module))
  }

  func install(_ module: LoadedModule) throws {
    _ = try engine.install(module, as: .loaded(path: module.name), on: "vale0")
  }

  /// Takes the packets that have arrived at each port.
  func takeAll() -> [[[UInt8]]] { ports.map { $0.rx().takePackets() } }
}

private struct MissingReport: Error {}

/// A frame that carries an IP packet, as the tests of modules need it.
struct IPFrame: Hashable {
  var target: Address = .station(2)
  var source: Address = .station(1)
  /// VLAN tags, outermost first.
  var tags: [UInt16] = []
  /// 4, 6, or 0 for an ARP frame.
  var version = 4
  /// 4 or 16 bytes.
  var from: [UInt8] = [10, 0, 0, 1]
  var to: [UInt8] = [10, 0, 0, 2]
  var transport: UInt8 = 17
  var ports: (UInt16, UInt16) = (1000, 2000)
  var isFragment = false
  /// IPv6: whether a hop-by-hop header comes first.
  var hasExtension = false

  static func == (a: IPFrame, b: IPFrame) -> Bool { a.bytes == b.bytes }
  func hash(into hasher: inout Hasher) { hasher.combine(bytes) }

  private static func field(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

  var bytes: [UInt8] {
    var all = target.bytes + source.bytes
    for tag in tags { all += [0x81, 0x00] + Self.field(tag) }
    let payload = Self.field(ports.0) + Self.field(ports.1) + [UInt8](repeating: 0, count: 24)
    switch version {
    case 4:
      all += [0x08, 0x00, 0x45, 0, 0, 48, 0, 1] + (isFragment ? [0x20, 0] : [0x40, 0])
      all += [64, transport, 0, 0] + from + to + payload
    case 6:
      all += [0x86, 0xdd, 0x60, 0, 0, 0, 0, 36]
      var next = transport
      var headers: [UInt8] = []
      if isFragment {
        headers = [next, 0, 0, 1, 0, 0, 0, 9]
        next = 44
      }
      if hasExtension {
        headers = [next, 0, 1, 4, 0, 0, 0, 0] + headers
        next = 0
      }
      all += [next, 64] + from + to + headers + payload
    default: all += [0x08, 0x06] + [UInt8](repeating: 1, count: 46)
    }
    return all
  }

  var reversed: IPFrame {
    var frame = self
    (frame.target, frame.source) = (source, target)
    (frame.from, frame.to) = (to, from)
    frame.ports = (ports.1, ports.0)
    return frame
  }

  /// Whether the engine can read transport ports in the packet.
  var showsPorts: Bool { version != 0 && !isFragment && [6, 17, 132].contains(transport) }

  static func random(_ generator: inout SeededGenerator) -> IPFrame {
    var frame = IPFrame()
    frame.version = generator.chance(10) ? 0 : generator.chance(40) ? 6 : 4
    frame.source = .station(UInt8.random(in: 1...20, using: &generator))
    // The switch never learns this address.
    frame.target = .station(UInt8.random(in: 101...120, using: &generator))
    for _ in 0..<(generator.chance(30) ? Int.random(in: 1...2, using: &generator) : 0) {
      frame.tags.append(UInt16.random(in: 1...100, using: &generator))
    }
    func address() -> [UInt8] {
      // Few values in the bytes that matter, so that packets often match a rule or share a flow.
      let part: [UInt8] = [
        10, UInt8.random(in: 0...3, using: &generator), UInt8.random(in: 0...3, using: &generator),
        UInt8.random(in: 0...255, using: &generator),
      ]
      return frame.version == 6 ? [0xfd, 0] + part + [UInt8](repeating: 0, count: 6) + part : part
    }
    frame.from = address()
    frame.to = address()
    frame.transport = [1, 6, 17, 47, 132].randomElement(using: &generator) ?? 6
    frame.ports = (
      UInt16.random(in: 0...300, using: &generator), UInt16.random(in: 0...300, using: &generator)
    )
    frame.isFragment = generator.chance(10)
    frame.hasExtension = generator.chance(30)
    return frame
  }
}
