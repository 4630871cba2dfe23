package import NetmapCore

/// Bytes between the start of a chunk and the packet in it: `XDP_PACKET_HEADROOM`.
let headroom = 256

/// One ring pair of an interface as its data half works on it: an XDP socket's rings, and which buffer
/// of the region is where.
///
/// Plain data at a fixed address, made by the control half. Each direction is touched only by whoever
/// holds the lock of that direction's ring.
@unsafe
package struct XDPPair {
  /// What both directions read and neither writes.
  @unsafe
  package struct Common {
    /// The socket.
    package let file: CInt
    /// The first byte of the UMEM: chunk `i` is buffer `i` with the 256 bytes before it.
    package let memory: UnsafeMutableRawPointer
    /// Bytes of a chunk: a power of two.
    package let chunkSize: Int
    package let ownership: BufferOwnership
    /// Descriptors that one packet may have; 1 when the kernel does not take more.
    package let longestChain: Int
    /// Whether a slot that is longer than its chunk may go on in the next chunk's headroom.
    package let mayOverlap: Bool

    package init(
      file: CInt, memory: UnsafeMutableRawPointer, chunkSize: Int, ownership: BufferOwnership,
      longestChain: Int, mayOverlap: Bool
    ) {
      unsafe self.file = file
      unsafe self.memory = memory
      unsafe self.chunkSize = chunkSize
      unsafe self.ownership = ownership
      unsafe self.longestChain = longestChain
      unsafe self.mayOverlap = mayOverlap
    }
  }

  package let common: Common
  package var transmit: Transmit
  package var receive: Receive

  package init(_ common: Common, transmit: Transmit, receive: Receive) {
    unsafe self.common = common
    unsafe self.transmit = transmit
    unsafe self.receive = receive
  }

  /// Which buffer each slot of a ring has lent, and the way back.
  ///
  /// The engine's own memory: slots are the application's to write, and are not believed again once a
  /// buffer has been lent.
  @unsafe
  package struct Ledger {
    /// By slot: the buffer it has lent; 0 for none.
    package let buffer: UnsafeMutablePointer<UInt32>
    /// By buffer: the slot that has lent it. Only meaningful for buffers that are lent here.
    let slot: UnsafeMutablePointer<UInt32>
    package let slotCount: Int

    /// - Parameters:
    ///   - slotCount: Slots of the ring.
    ///   - bufferCount: Buffers of the region.
    package init(slotCount: Int, bufferCount: Int) {
      unsafe self.slotCount = slotCount
      unsafe buffer = .allocate(capacity: slotCount)
      unsafe buffer.initialize(repeating: 0, count: slotCount)
      unsafe slot = .allocate(capacity: bufferCount)
      unsafe slot.initialize(repeating: 0, count: bufferCount)
    }

    package func deallocate() {
      unsafe buffer.deallocate()
      unsafe slot.deallocate()
    }

    @inline(__always)
    func enter(_ index: UInt32, at position: UInt32) {
      unsafe buffer[Int(position)] = index
      unsafe slot[Int(index)] = position
    }
  }

  @unsafe
  package struct Transmit {
    var frames: XDPProducer
    var completions: XDPConsumer
    package let ledger: Ledger
    /// By slot: descriptors that have not been completed yet.
    package let outstanding: UnsafeMutablePointer<UInt8>
    /// The slot whose completion is expected next; only a hint.
    var expected: UInt32 = 0
    /// Whether what follows belongs to a packet that was given up.
    var isSkipping = false
    var statistics = XDPStatistics()

    package init(frames: XDPProducer, completions: XDPConsumer, ledger: Ledger) {
      unsafe self.frames = unsafe frames
      unsafe self.completions = unsafe completions
      unsafe self.ledger = unsafe ledger
      unsafe outstanding = .allocate(capacity: ledger.slotCount)
      unsafe outstanding.initialize(repeating: 0, count: ledger.slotCount)
    }
  }

  @unsafe
  package struct Receive {
    var fill: XDPProducer
    var frames: XDPConsumer
    package let ledger: Ledger
    var statistics = XDPStatistics()

    package init(fill: XDPProducer, frames: XDPConsumer, ledger: Ledger) {
      unsafe self.fill = unsafe fill
      unsafe self.frames = unsafe frames
      unsafe self.ledger = unsafe ledger
    }
  }

  /// Frees what the pair allocated; the socket and the mappings are the control half's.
  package func deallocate() {
    unsafe transmit.ledger.deallocate()
    unsafe transmit.outstanding.deallocate()
    unsafe receive.ledger.deallocate()
  }
}

extension XDPPair.Common {
  /// The buffer that an address in the UMEM belongs to.
  @inline(__always)
  func buffer(at address: UInt64) -> UInt32 {
    unsafe UInt32(truncatingIfNeeded: address >> UInt64(chunkSize.trailingZeroBitCount))
  }

  /// Where in its chunk an address is.
  @inline(__always)
  func offset(of address: UInt64) -> Int {
    unsafe Int(truncatingIfNeeded: address) & (chunkSize &- 1)
  }

  /// The first byte of a chunk, as an address in the UMEM.
  @inline(__always)
  func chunk(_ buffer: UInt32) -> UInt64 {
    unsafe UInt64(buffer) << UInt64(chunkSize.trailingZeroBitCount)
  }
}

extension XDPPair {
  /// Has the kernel send what it has not taken yet. For closing; ends the use of the transmit ring.
  ///
  /// - Returns: Whether the kernel has done with everything: until then a driver that takes packets by
  ///   reference (virtio_net, in copy mode too) reads the buffers.
  package mutating func drainTransmit() -> Bool {
    if unsafe transmit.frames.isPending() { _ = unsafe common.kickTransmit() }
    // Each descriptor is completed once, and both cursors began at 0.
    return unsafe transmit.completions.written == transmit.frames.position
  }

  /// Takes back every buffer that is lent, and names it in the slot that lent it.
  ///
  /// Only after the socket has been closed: until then the buffers are the kernel's.
  ///
  /// - Parameters:
  ///   - transmitRing: Where the slots of the transmit ring are; nil if it was never started.
  ///   - receiveRing: The same for the receive ring.
  package mutating func returnBuffers(to transmitRing: Ring?, _ receiveRing: Ring?) {
    unsafe Self.returnBuffers(of: transmit.ledger, to: transmitRing, common.ownership)
    unsafe Self.returnBuffers(of: receive.ledger, to: receiveRing, common.ownership)
  }

  private static func returnBuffers(
    of ledger: Ledger, to ring: Ring?, _ ownership: BufferOwnership
  ) {
    guard let ring = unsafe ring else { return }
    for index in unsafe 0..<ledger.slotCount {
      let buffer = unsafe ledger.buffer[index]
      guard buffer != 0, ownership.takeBack(buffer) else { continue }
      unsafe ring.slot(UInt32(index)).pointee.bufferIndex = buffer
    }
  }
}
