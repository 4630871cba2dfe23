internal import CLinux
package import NetmapCore

/// The values that both directions of a ring pair read and neither writes, in one process.
@unsafe
package struct XDPCommon {
  /// The socket.
  package let file: CInt
  /// The first byte of the UMEM: chunk `i` is buffer `i` with the headroom before it.
  package let memory: UnsafeMutableRawPointer
  /// Bytes between the start of a chunk and the packet in it.
  package let headroom: Int
  /// Bytes of a chunk: a power of two.
  package let chunkSize: Int
  package let ownership: BufferOwnership
  /// The most descriptors that one packet may have; 1 when the kernel does not take more.
  package let longestChain: Int
  /// Whether a packet that is longer than the rest of its chunk may continue in the headroom of the next chunk.
  package let mayOverlap: Bool

  package init(
    file: CInt, memory: UnsafeMutableRawPointer, headroom: Int, chunkSize: Int,
    ownership: BufferOwnership, longestChain: Int, mayOverlap: Bool
  ) {
    unsafe self.file = file
    unsafe self.memory = memory
    unsafe self.headroom = headroom
    unsafe self.chunkSize = chunkSize
    unsafe self.ownership = ownership
    unsafe self.longestChain = longestChain
    unsafe self.mayOverlap = mayOverlap
  }
}

/// The transmit ring of a pair as its driver sees it: this process's addresses of the kernel's rings, and of the
/// words that all processes on the port share (``XDPPairLayout``).
@unsafe
package struct XDPTransmit {
  package let common: XDPCommon
  let frames: XDPProducer
  let completions: XDPConsumer
  package let ledger: XDPLedger
  let outstanding: XDPOutstanding
  let state: XDPStateWords
  /// The short cut to the peer's receive ring; nil where there cannot be one.
  let lane: ShortCutLane?

  /// - Parameters:
  ///   - common: The values that both directions share.
  ///   - rings: The socket's rings, mapped into this process.
  ///   - state: The first byte of the pair's words.
  ///   - layout: Where the words lie.
  ///   - lane: The short cut to the peer's receive ring.
  package init(
    _ common: XDPCommon, _ rings: XDPRingMapping, state: UnsafeMutableRawPointer,
    _ layout: XDPPairLayout, lane: ShortCutLane? = nil
  ) {
    unsafe self.lane = unsafe lane
    unsafe self.common = unsafe common
    unsafe self.state = unsafe XDPStateWords(base: state + XDPPairLayout.transmitState)
    unsafe frames = unsafe rings.producer(seen: self.state.seenConsumer)
    unsafe completions = unsafe rings.consumer()
    unsafe ledger = unsafe XDPLedger(transmit: state, layout)
    unsafe outstanding = unsafe XDPOutstanding(state, layout)
  }
}

/// The receive ring of a pair as its driver sees it; see ``XDPTransmit``.
@unsafe
package struct XDPReceive {
  package let common: XDPCommon
  let fill: XDPProducer
  let frames: XDPConsumer
  package let ledger: XDPLedger
  let state: XDPStateWords
  /// The counters of the XDP program, where it completes frames.
  let counters: XDPWorkCounters?
  /// The short cut from the peer's transmit ring; nil where there cannot be one.
  let lane: ShortCutLane?

  /// As ``XDPTransmit/init(_:_:state:_:)``.
  package init(
    _ common: XDPCommon, _ rings: XDPRingMapping, state: UnsafeMutableRawPointer,
    _ layout: XDPPairLayout, counters: XDPWorkCounters? = nil, lane: ShortCutLane? = nil
  ) {
    unsafe self.lane = unsafe lane
    unsafe self.counters = unsafe counters
    unsafe self.common = unsafe common
    unsafe self.state = unsafe XDPStateWords(base: state + XDPPairLayout.receiveState)
    unsafe fill = unsafe rings.producer(seen: self.state.seenConsumer)
    unsafe frames = unsafe rings.consumer()
    unsafe ledger = unsafe XDPLedger(receive: state, layout)
  }
}

extension XDPCommon {
  /// The buffer that an address in the UMEM belongs to. For any other address the result is meaningless, so the
  /// caller must validate it.
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

extension XDPReceive {
  /// How many frames the kernel has put into the receive ring since it was made, modulo 2^32.
  package var writtenFrames: UInt32 { unsafe frames.written }
}

// For the control side, when it closes a pair.

extension XDPTransmit {
  /// Makes the kernel send what it has not taken yet. For closing: no sync may use the transmit ring afterwards.
  ///
  /// - Returns: Whether the kernel has finished with everything. Until then a driver that takes packets by
  ///   reference (virtio_net, in copy mode too) reads the buffers.
  package func drain() -> Bool {
    if unsafe frames.isPending() { _ = unsafe common.kickTransmit() }
    // Each descriptor is completed once, and both cursors began at 0.
    return unsafe completions.written == frames.position
  }

  /// Makes the kernel send what it has not taken yet.
  ///
  /// - Returns: Whether each frame that the kernel was given has reached the receiver's side, or is lost: those that it has
  ///   not taken, if it never will, because the interface has disappeared.
  package func isDelivered() -> Bool {
    if unsafe frames.isPending(), unsafe common.kickTransmit() == .gone {
      return unsafe hasNothingUnderWay
    }
    return unsafe completions.written == frames.position
  }

  /// Whether the kernel has finished with each frame that it has taken.
  package var hasNothingUnderWay: Bool {
    _ = unsafe frames.isPending()
    return unsafe completions.written == frames.seenConsumer
  }
}

/// Returns every buffer that a pair has lent to the slot that lent it, when the pair is closed.
///
/// Use it only after the socket has been closed: until then the buffers belong to the kernel.
@unsafe
package struct XDPReturn {
  private let transmit: XDPLedger
  private let receive: XDPLedger
  private let receiveState: XDPStateWords
  private let ownership: BufferOwnership

  /// - Parameters:
  ///   - state: The first byte of the pair's words.
  ///   - layout: Where the words lie.
  ///   - ownership: The owner bytes of the region.
  package init(
    state: UnsafeMutableRawPointer, _ layout: XDPPairLayout, _ ownership: BufferOwnership
  ) {
    unsafe transmit = unsafe XDPLedger(transmit: state, layout)
    unsafe receive = unsafe XDPLedger(receive: state, layout)
    unsafe receiveState = unsafe XDPStateWords(base: state + XDPPairLayout.receiveState)
    unsafe self.ownership = ownership
  }

  /// Takes the buffers back, and writes each into its slot.
  ///
  /// - Parameters:
  ///   - transmitRing: The transmit ring, whose slots get their buffers back; nil if it was never started.
  ///   - receiveRing: The receive ring, likewise.
  package func returnBuffers(to transmitRing: Ring?, _ receiveRing: Ring?) {
    unsafe receiveState.finishExchange(in: receive)
    if let ring = unsafe transmitRing { unsafe transmit.returnSent(to: ring, ownership) }
    if let ring = unsafe receiveRing { unsafe receive.returnBuffers(to: ring, ownership) }
  }
}

extension XDPLedger {
  /// Returns the buffers that a receive ring has posted.
  fileprivate func returnBuffers(to ring: Ring, _ ownership: BufferOwnership) {
    for index in unsafe 0..<min(slotCount, ring.slotCount) {
      let buffer = unsafe self[index]
      guard buffer != 0, ownership.takeBack(buffer) else { continue }
      unsafe ring.place(index).store(bufferIndex: buffer)
    }
  }
}
