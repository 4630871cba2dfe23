import NetmapCore
import Testing

@testable import Netmap

@Suite("Packets that are kept in extra buffers")
struct KeptPacketTests {
  private struct Missing: Error {}

  private func pipe(_ extra: Int, _ engine: EmbeddedEngine) throws -> (a: NetmapPort, b: NetmapPort)
  {
    (
      try NetmapPort("netmap:k{1", engine: engine),
      try NetmapPort("netmap:k}1", extraBuffers: extra, engine: engine)
    )
  }

  @Test("a kept packet outlives its slot; its buffer returns when it ends")
  func keeping() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = try pipe(2, engine)
    #expect(b.extraBufferCount == 2 && b.spareBufferCount == 2)
    try a.inject([1, 2, 3])
    try a.sync(.transmit)
    try b.sync(.receive)
    var ring = b.receiveRing(0)
    guard let kept = try ring.keepNext() else { throw Missing() }
    #expect(b.spareBufferCount == 1)
    // Overwrites every buffer of the rings.
    for round in 0..<3000 {
      try a.inject([9, 9, 9])
      if round % 100 == 99 {
        try a.sync(.transmit)
        _ = try b.takeAll()
        try b.sync(.receive)
      }
    }
    let bytes = copy(kept)
    #expect(bytes == [1, 2, 3])
    _ = consume kept
    #expect(b.spareBufferCount == 2)
    #expect(engine.engine.check().findings.isEmpty)
  }

  @Test("without an extra buffer the packet stays in the ring; a packet of several slots too")
  func refusals() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = try pipe(1, engine)
    try a.inject([1])
    try a.inject([2])
    try a.inject([UInt8](repeating: 3, count: 3000))
    try a.sync(.transmit)
    try b.sync(.receive)
    var ring = b.receiveRing(0)
    guard let first = try ring.keepNext() else { throw Missing() }
    var code: NetmapError.Code?
    do { _ = try ring.keepNext() } catch { code = error.code }
    #expect(code == .outOfMemory)
    _ = consume first
    guard let second = try ring.keepNext() else { throw Missing() }
    let bytes = copy(second)
    #expect(bytes == [2])
    _ = consume second
    do { _ = try ring.keepNext() } catch { code = error.code }
    #expect(code == .messageTooLong)
    #expect(try b.takeAll().map(\.count) == [3000])
    var rest = b.receiveRing(0)
    let none = try rest.keepNext()
    let isNone = none == nil
    #expect(isNone)
  }

  @Test("a kept packet is sent without a copy within a region, and with one to another region")
  func sending() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = try pipe(4, engine)
    let other = try NetmapPort("netmap:other{1", engine: engine)
    let otherEnd = try NetmapPort("netmap:other}1", engine: engine)
    for (output, end) in [(b, a), (other, otherEnd)] {
      for number in 0..<200 as Range<UInt8> {
        try a.inject([number, 5])
        try a.sync(.transmit)
        try b.sync(.receive)
        var ring = b.receiveRing(0)
        guard var packet = try ring.keepNext() else { throw Missing() }
        var bytes = packet.mutableBytes
        bytes[1] = 6
        var kept: KeptPacket? = consume packet
        var target = output.transmitRing(0)
        let isSent = target.append(&kept)
        let isGone = kept == nil
        #expect(isSent && isGone)
        try output.sync(.transmit)
        #expect(try end.takeAll() == [[number, 6]])
        try end.sync(.receive)
      }
    }
    #expect(b.spareBufferCount == 4)
    #expect(engine.engine.check().findings.isEmpty)
  }

  @Test("a full ring leaves the kept packet to its owner")
  func fullRing() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = try pipe(1, engine)
    try a.inject([1])
    try a.sync(.transmit)
    try b.sync(.receive)
    var ring = b.receiveRing(0)
    var kept = try ring.keepNext()
    var output = b.transmitRing(0)
    while output.append(length: 1) {}
    let isSent = output.append(&kept)
    let isKept = kept != nil
    #expect(!isSent && isKept)
  }

  @Test("closing a port gives all its buffers back")
  func closing() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = try pipe(3, engine)
    try a.inject([1])
    try a.sync(.transmit)
    try b.sync(.receive)
    var ring = b.receiveRing(0)
    guard let kept = try ring.keepNext() else { throw Missing() }
    _ = consume kept
    b.close()
    #expect(engine.engine.check().findings.isEmpty)
    a.close()
    #expect(engine.engine.check().findings.isEmpty)
  }
}

private func copy(_ packet: borrowing KeptPacket) -> [UInt8] {
  let bytes = packet.bytes
  return (0..<bytes.byteCount).map { bytes[$0] }
}
