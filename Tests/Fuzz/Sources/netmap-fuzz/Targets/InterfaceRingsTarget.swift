@testable import Netmap
@testable import NetmapCore
@testable import NetmapLinux

extension FuzzTarget {
  /// Which ring driver; then steps: stores of a peer, frames of the kernel, and syncs of a program.
  static let interfaceRings = FuzzTarget(
    name: "interface-rings", subject: "rings of AF_XDP and TPACKET_V3, with words of peers"
  ) { bytes in
    var input = FuzzInput(bytes)
    if input.flag() { attackSocketRings(&input) } else { attackBlocks(&input) }
  }

  private static let stepsMax = 200

  private static func open(_ backend: some InterfaceBackend) -> NetmapPort {
    do {
      return try NetmapPort(
        "netmap:fake", engine: EmbeddedEngine(interfaces: FakeInterfaces(backend: backend)))
    } catch {
      fatalError("the interface cannot be opened: \(error)")
    }
  }

  private static func attackSocketRings(_ input: inout FuzzInput) {
    let backend = FakeSocketRings(hasLane: input.flag())
    let port = open(backend)
    let exposed = backend.exposed
    var steps = 0
    while !input.isAtEnd, steps < stepsMax {
      steps += 1
      switch input.byte() % 4 {
      case 0: receive(port)
      case 1: send(port, &input)
      default: scribble(exposed, &input)
      }
    }
  }

  private static func attackBlocks(_ input: inout FuzzInput) {
    let backend = FakeBlocks()
    let port = open(backend)
    let exposed = backend.exposed
    var steps = 0
    while !input.isAtEnd, steps < stepsMax {
      steps += 1
      switch input.byte() % 4 {
      case 0: receive(port)
      case 1: publish(backend, &input)
      default: scribble(exposed, &input)
      }
    }
  }

  private static func scribble(_ exposed: [ExposedMemory], _ input: inout FuzzInput) {
    let area = exposed[Int(input.byte()) % exposed.count]
    area.scribble(
      UInt32(truncatingIfNeeded: input.word()), at: UInt64(input.number(UInt16.self)))
  }

  private static func receive(_ port: NetmapPort) {
    _ = try? port.sync(.receive)
    var ring = port.receiveRing(0)
    var slots = 0
    while let packet = ring.next() {
      packet.forEachFragment { _ = InternetChecksum($0).field }
      slots += packet.fragmentCount
    }
    require(slots < 64, "a ring of 64 slots has fewer packets")
  }

  private static func send(_ port: NetmapPort, _ input: inout FuzzInput) {
    let (count, more) = (Int(input.byte() & 31), input.flag())
    do {
      var ring = port.transmitRing(0)
      for _ in 0..<count { _ = ring.append(length: 60, flags: more ? .moreFragments : []) }
    }
    _ = try? port.sync(.transmit)
  }

  /// Fills a block as the kernel does, with what a sender or a peer may have put into it.
  private static func publish(_ backend: FakeBlocks, _ input: inout FuzzInput) {
    let index = Int(input.byte()) % backend.layout.blockCount
    let frames = (0..<Int(input.byte() & 7)).map { _ -> FakeBlocks.Frame in
      var frame = FakeBlocks.Frame(bytes: [])
      let length = Int(input.number(UInt16.self) & 4095)
      frame.bytes = input.bytes(min(length, 80))
      frame.bytes += [UInt8](repeating: 0x50, count: length - frame.bytes.count)
      if input.flag() { frame.tag = (input.choice([0x8100, 0x88a8]), input.number()) }
      if input.flag() {
        frame.offload = (
          input.byte() & 3, input.byte() & 7, input.number(), UInt16(input.byte()),
          UInt16(input.byte())
        )
      }
      if input.byte() & 15 == 0 { frame.claimed = UInt32(truncatingIfNeeded: input.word()) }
      frame.isOutgoing = input.byte() & 15 == 0
      return frame
    }
    // The kernel writes no frames to a place outside the block.
    let first: UInt32 = frames.isEmpty ? UInt32(truncatingIfNeeded: input.word()) : 48
    backend.publish(index, frames, firstOffset: first)
  }
}
