import Netmap
import NetmapTestSupport
import Testing

/// Packets that begin at an offset in their buffers (`@offset`), through the views of a port.
@Suite("Offsets")
struct OffsetTests {
  private static let frame = udpFrame(destination: (0xff, 2, 8000))

  /// The `count` bytes that lie `place` bytes into the buffer of a slot.
  private static func raw(_ ring: Ring, _ slot: UInt32, _ place: Int, _ count: Int) -> [UInt8] {
    let start = unsafe ring.buffer(ring.load(slot).bufferIndex) + place
    return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
  }

  /// Sends a frame with every form of `append`: five packets.
  private static func sendAll(_ port: NetmapPort) throws {
    let frame = Self.frame
    var ring = port.transmitRing(0)
    func write(_ bytes: inout MutableRawSpan) {
      for index in frame.indices { bytes[index] = frame[index] }
    }
    _ = unsafe ring.append(frame.span.bytes)
    _ = ring.append(length: 60) { write(&$0) }
    _ = ring.append(upTo: 2, length: 60) { _, bytes in write(&bytes) }
    _ = ring.append(upTo: 1, length: 60) { _, bytes in write(&bytes) }
    try port.sync(.transmit)
  }

  @Test(
    "packets appended at an offset arrive, whatever the receiver's offset is",
    arguments: ["", "@offset:initial=32", "@offset:initial=64"])
  func vale(receiving: String) throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("vale0:a@offset:initial=64", engine: engine)
    let b = try NetmapPort("vale0:b\(receiving)", engine: engine)
    try Self.sendAll(a)
    let place = receiving.isEmpty ? 0 : receiving.hasSuffix("32") ? 32 : 64
    try b.sync(.receive)
    var ring = b.receiveRing(0)
    #expect(unsafe Self.raw(ring.unsafeRing, 0, place, 60) == Self.frame)
    let first = ring.next()?.copy()
    #expect(first == Self.frame)
    var others: [[UInt8]] = []
    ring.forEach { others.append($0.copy()) }
    #expect(others == Array(repeating: Self.frame, count: 4))
  }

  @Test("packets in a pipe lie at the offset, which both ends know")
  func pipe() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:t{1@offset:initial=64", engine: engine)
    let b = try NetmapPort("netmap:t}1", engine: engine)
    try Self.sendAll(a)
    let sent = a.transmitRing(0)
    for slot: UInt32 in 0..<5 {
      #expect(unsafe Self.raw(sent.unsafeRing, slot, 64, 60) == Self.frame)
    }
    #expect(try b.takeAll() == Array(repeating: Self.frame, count: 5))
    try Self.sendAll(b)
    #expect(try a.takeAll() == Array(repeating: Self.frame, count: 5))
    // Without a closure, `append` sends the bytes behind the offset unchanged.
    var again = a.transmitRing(0)
    _ = again.append(length: 60)
    try a.sync(.transmit)
    try b.sync(.receive)
    try a.inject(Self.frame)
  }

  @Test("append of a buffer unchanged sends the bytes behind the offset")
  func asItIs() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("vale0:a@offset:initial=64", engine: engine)
    let b = try NetmapPort("vale0:b", engine: engine)
    do {
      let ring = a.transmitRing(0)
      let view = unsafe ring.unsafeRing
      let start = unsafe view.buffer(view.load(0).bufferIndex) + 64
      for index in 0..<60 {
        unsafe start.storeBytes(of: Self.frame[index], toByteOffset: index, as: UInt8.self)
      }
    }
    var ring = a.transmitRing(0)
    _ = ring.append(length: 60)
    try a.sync(.transmit)
    #expect(try b.takeAll() == [Self.frame])
  }

  @Test(
    "lengths that do not fit behind the offset are not appended; bytes that do not fit take another slot"
  )
  func long() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:t{1@offset:initial=64", engine: engine)
    let b = try NetmapPort("netmap:t}1", engine: engine)
    let packet = (0..<2048).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    do {
      var ring = a.transmitRing(0)
      var appended = [ring.append(length: 1985)]
      appended.append(ring.append(upTo: 4, length: 1985) { _, _ in } > 0)
      appended.append(ring.append(upTo: 4, length: 1985) > 0)
      #expect(appended == [false, false, false])
      let fits = ring.append(length: 1984) { bytes in bytes[1983] = 9 }
      #expect(fits)
    }
    try a.sync(.transmit)
    #expect(try b.takeAll().map { [UInt8($0.count / 8), $0[1983]] } == [[248, 9]])
    #expect(try a.send(packet))
    #expect(try b.takeSlots() == [Array(packet[..<1984]), Array(packet[1984...])])
    #expect(try a.send(packet))
    #expect(try b.takeAll() == [packet])
  }

  @Test(
    "forward moves packets between different offsets, with and without a shared region",
    arguments: ["", "@offset:initial=32", "@offset:initial=64"], [false, true])
  func forward(option: String, isShared: Bool) throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:t{1@offset:initial=64", engine: engine)
    let b = try NetmapPort("netmap:t}1", engine: engine)
    let other = isShared ? "t" : "u"
    let c = try NetmapPort("netmap:\(other){2\(option)", engine: engine)
    let d = try NetmapPort("netmap:\(other)}2", engine: engine)
    #expect(b.sharesMemory(with: c) == isShared)
    for _ in 0..<3 {
      try Self.sendAll(a)
      try b.sync(.receive)
      var input = b.receiveRing(0)
      var output = c.transmitRing(0)
      #expect(input.forward(to: &output) { $0[59] = 77 } == 5)
      try c.sync(.transmit)
      try b.sync(.receive)
      #expect(try d.takeAll() == Array(repeating: Array(Self.frame[..<59]) + [77], count: 5))
      try d.sync(.receive)
    }
  }

  @Test("an offset that a peer has written causes no trap and no access beyond the buffer")
  func hostile() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:t{1@offset:initial=64", engine: engine)
    let b = try NetmapPort("netmap:t}1", engine: engine)
    for pointer: UInt64 in [2048, 2049, 1 << 31, 1 << 63, .max] {
      var ring = a.transmitRing(0)
      let view = unsafe ring.unsafeRing
      unsafe view.place(view.head).store(pointer: pointer)
      let isAppended = unsafe ring.append(Self.frame.span.bytes)
      #expect(!isAppended, "\(pointer)")
      try a.sync(.transmit)
      _ = try b.takeAll()
      try b.sync(.receive)
      let next = a.transmitRing(0)
      let after = unsafe next.unsafeRing
      unsafe after.place(after.head).store(pointer: 64)
    }
    do {
      try Self.sendAll(a)
      try b.sync(.receive)
      var ring = b.receiveRing(0)
      let view = unsafe ring.unsafeRing
      unsafe view.place(view.head).store(pointer: .max)
      let packet = ring.next()?.bytes.byteCount
      #expect(packet == 0)
    }
  }
}

/// Ports compare regions by their memory, not by their number.
@Suite("Forwarding between engines")
struct EngineForwardingTests {
  @Test("between regions of two engines with the same number, packets are copied")
  func twoEngines() throws {
    let (one, two) = (try EmbeddedEngine(), try EmbeddedEngine())
    let a = try NetmapPort("netmap:t{1", engine: one)
    let b = try NetmapPort("netmap:t}1", engine: one)
    let c = try NetmapPort("netmap:u{1", engine: two)
    let d = try NetmapPort("netmap:u}1", engine: two)
    #expect(b.memoryID == c.memoryID)
    #expect(!b.sharesMemory(with: c) && b.sharesMemory(with: a))
    let frame = udpFrame()
    #expect(try a.send(frame))
    try b.sync(.receive)
    var input = b.receiveRing(0)
    var output = c.transmitRing(0)
    #expect(input.forward(to: &output) == 1)
    try c.sync(.transmit)
    #expect(try d.takeAll() == [frame])
  }
}
