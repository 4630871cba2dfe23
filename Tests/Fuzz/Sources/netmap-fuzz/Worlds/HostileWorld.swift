@testable import Netmap
@testable import NetmapCore

/// An engine with ports whose shared memory a peer writes to, and a pipe of which it has no part.
@safe
final class HostileWorld {
  let engine: EmbeddedEngine
  /// Three ports of a switch, and both ends of a pipe; nil while a port is closed.
  private(set) var ports: [NetmapPort?] = []
  /// A packet that the program keeps.
  private var kept: KeptPacket?
  private let bystanders: (NetmapPort, NetmapPort)
  private var sent: UInt8 = 0

  private static let names = [
    "vale0:a@conf:slots=16", "vale0:b@conf:slots=16", "vale0:c@conf:slots=16@backpressure",
    "netmap:p{1@conf:slots=16@offset:initial=64,bits=16", "netmap:p}1",
  ]
  static let portCount = names.count

  init() throws {
    let engine = try EmbeddedEngine()
    self.engine = engine
    bystanders = (
      try NetmapPort("netmap:q{1@conf:slots=16", engine: engine),
      try NetmapPort("netmap:q}1", engine: engine)
    )
    for index in 0..<Self.portCount { ports.append(try open(index)) }
    _ = try engine.engine.answer(.setHeader(try PortName("vale0:a"), length: 12))
  }

  private func open(_ index: Int) throws -> NetmapPort {
    let port = try NetmapPort(
      Self.names[index], flags: [.acceptVirtioNetHeader], extraBuffers: 4, engine: engine)
    // Another process shares these ports, so no slot may name memory of this one.
    port.mapped.allowIndirect(.none)
    return port
  }

  // MARK: - The peer

  /// Performs one store of a peer that has everything mapped that a member can map.
  func scribble(_ input: inout FuzzInput) {
    let area = input.byte() % 9
    guard let port = ports[Int(input.byte()) % Self.portCount] else { return }
    let direction: Direction = input.flag() ? .transmit : .receive
    let ring = unsafe direction == .transmit ? port.mapped.transmit(0) : port.mapped.receive(0)
    let (region, segment) = (port.registration.region, port.registration.segment)
    let ringOffset = unsafe ring.ring.base - region.base
    let value = input.word()
    switch area {
    case 0, 1:
      // A word of the kring, most often on its first lines.
      let kring = Int(unsafe segment.offset(of: ring.kring))
      let place = 4 * (Int(input.byte()) % (KRingLayout.byteCount / 4))
      store(value, in: segment.memory, at: kring + place)
    case 2:
      let slot = Int(input.byte()) % 16
      store(value, in: region, at: ringOffset + 256 + 16 * slot + Int(input.byte() % 4) * 4)
    case 3: store(value, in: region, at: ringOffset + Int(input.byte() % 64) * 4)
    case 4:
      // The netmap_if, with the heads of the lists of extra and kept buffers.
      store(value, in: region, at: port.registration.interfaceOffset + Int(input.byte() % 32) * 4)
    case 5:
      // The first words of a buffer: links of lists, or the table of kept buffers.
      let buffer = 2 + Int(input.byte()) % 64
      let base = segment.buffers.base
      guard base >= 0 else { return }
      store(value, in: region, at: base + buffer * 2048 + Int(input.byte() % 16) * 4)
    case 6:
      // The header, records of bindings, and leases.
      let place = 4 * Int(input.number(UInt16.self))
      store(value, in: segment.memory, at: input.flag() ? place % 1024 : place)
    default:
      guard let vale = port.mapped.vale?.segment.memory else { return }
      store(
        value, in: vale,
        at: input.flag() ? Int(input.byte()) * 4 : 8 * Int(input.number(UInt16.self)))
    }
  }

  private func store(_ value: UInt64, in memory: SharedMemory, at offset: Int) {
    // Aligned to 4 bytes: a peer can write halves of words.
    let place = offset & ~3
    guard place >= 0, place <= memory.byteCount - 8 else { return }
    if value >> 32 == 0 {
      memory.store(UInt32(truncatingIfNeeded: value), at: place)
    } else {
      memory.store(value, at: place)
    }
  }

  // MARK: - The program

  /// Does one thing that a program does with its ports.
  func act(_ input: inout FuzzInput) {
    let index = Int(input.byte()) % Self.portCount
    switch input.byte() % 10 {
    case 0, 1: send(from: index, &input)
    case 2, 3: receive(at: index)
    case 4: forward(from: index, to: Int(input.byte()) % Self.portCount)
    case 5: keep(at: index)
    case 6: sendKept(from: index)
    case 7:
      if ports[index] == nil { ports[index] = try? open(index) } else { close(index) }
    case 8: attach(index)
    default: askEngine(input.byte())
    }
  }

  private func send(from index: Int, _ input: inout FuzzInput) {
    guard let port = ports[index] else { return }
    let count = 1 + Int(input.byte() & 7)
    let length = input.choice([60, 14, 0, 13, 200, 1514, 2048, 5000])
    var frame = [UInt8](repeating: input.byte(), count: length)
    for place in frame.indices.prefix(48) { frame[place] = input.byte() }
    do {
      var ring = port.transmitRing(0)
      for _ in 0..<count where !ring.append(frame.bytes) { break }
    }
    _ = try? port.sync(.transmit)
  }

  private func receive(at index: Int) {
    guard let port = ports[index] else { return }
    _ = try? port.sync(.receive)
    do {
      var ring = port.receiveRing(0)
      var taken = 0
      while let packet = ring.next() {
        packet.forEachFragment { _ = InternetChecksum($0).field }
        taken += packet.fragmentCount
      }
      require(taken < 16, "a ring of 16 slots has fewer packets")
    }
    _ = try? port.sync(.receive)
  }

  private func forward(from index: Int, to other: Int) {
    guard index != other, let port = ports[index], let target = ports[other] else { return }
    _ = try? port.sync(.receive)
    do {
      var from = port.receiveRing(0)
      var to = target.transmitRing(0)
      from.forward(to: &to) { bytes in if bytes.byteCount > 0 { bytes[bytes.byteCount - 1] ^= 1 } }
    }
    _ = try? target.sync(.transmit)
  }

  private func keep(at index: Int) {
    guard let port = ports[index] else { return }
    kept = nil
    _ = try? port.sync(.receive)
    var ring = port.receiveRing(0)
    kept = try? ring.keepNext()
    if let length = kept?.length { require(length <= 2048, "a packet fits its buffer") }
  }

  private func sendKept(from index: Int) {
    guard let port = ports[index] else { return }
    do {
      var ring = port.transmitRing(0)
      _ = ring.append(&kept)
    }
    _ = try? port.sync(.transmit)
  }

  private func close(_ index: Int) {
    ports[index]?.close()
    ports[index] = nil
  }

  /// Maps a port again, as another process would.
  private func attach(_ index: Int) {
    guard let port = ports[index], let tag = try? engine.engine.addClient(process: 1) else {
      return
    }
    defer { engine.engine.removeClient(tag) }
    guard let segment = try? SyncSegment(mapping: port.registration.segment.memory) else { return }
    var registration = Registration(
      id: port.registration.id, name: port.registration.name,
      bindingIndex: port.registration.bindingIndex,
      interfaceOffset: port.registration.interfaceOffset,
      memorySize: port.registration.memorySize, memoryID: port.registration.memoryID,
      geometry: port.registration.geometry, extraBuffers: 0, offsetMax: nil,
      region: port.registration.region, segment: segment, backend: nil)
    registration.place = port.registration.place
    if let mapped = try? engine.engine.mapPort(registration, tag: tag) {
      for ring in 0..<mapped.transmitCount { _ = unsafe mapped.transmit(ring).synchronize([]) }
      for ring in 0..<mapped.receiveCount { _ = unsafe mapped.receive(ring).synchronize([]) }
    }
    try? DestinationTable().install(
      index, region: port.registration.region, segment: segment, generation: 1)
    if let vale = port.mapped.vale?.segment.memory { _ = try? SwitchSegment(mapping: vale) }
  }

  private func askEngine(_ what: UInt8) {
    let engine = engine.engine
    switch what % 6 {
    case 0: _ = engine.check()
    case 1:
      for port in ports {
        if let port { engine.finishLeases(of: unsafe port.mapped.transmit(0).tag) }
      }
    case 2: _ = engine.directory.entries
    case 3:
      for port in ports {
        guard let port else { continue }
        for ring in 0..<port.mapped.transmitCount {
          _ = unsafe port.mapped.transmit(ring).counters.drops.total
        }
      }
    case 4: _ = try? engine.answer(.module("vale0:", .choose(.hub)))
    default: _ = try? engine.answer(.module("vale0:", .report))
    }
  }

  // MARK: - The bystander

  /// The pipe that no peer reaches carries packets as if nothing had happened.
  func checkBystanders() {
    let (one, two) = bystanders
    sent &+= 1
    let frame = [UInt8](repeating: sent, count: 100)
    do {
      var ring = one.transmitRing(0)
      require(ring.append(frame.bytes), "the bystander's ring has room")
    }
    do { try one.sync(.transmit) } catch { fatalError("the bystander cannot send: \(error)") }
    do { try two.sync(.receive) } catch { fatalError("the bystander cannot receive: \(error)") }
    do {
      var ring = two.receiveRing(0)
      var received: [UInt8] = []
      if let packet = ring.next() { received = [UInt8](packet) }
      require(received == frame, "the bystander's packet arrives, and is intact")
      let left = ring.count
      require(left == 0, "the bystander has one packet")
    }
    try? two.sync(.receive)
    try? one.sync(.transmit)
  }

  func closeAll() {
    kept = nil
    for index in ports.indices { close(index) }
  }
}
