internal import Glibc
package import NetmapCore

/// Where the lanes of a ring pair lie in the memory of a veth short cut.
package struct ShortCutRecipe: Hashable, Sendable {
  package let layout: ShortCutLayout
  /// The end of the veth that the port is: 0 or 1.
  package let side: Int

  package init(layout: ShortCutLayout, side: Int) {
    self.layout = layout
    self.side = side
  }
}

/// The numbers that a process needs to sync one ring of a pair. The control side provides them.
package struct XDPRecipe: Hashable, Sendable {
  package var direction: Direction
  /// Where the pair's words begin in the port's state memory, bytes.
  package var stateOffset: Int
  package var layout: XDPPairLayout
  /// Entries in each ring of the socket.
  package var ringSize: UInt32
  /// Where chunk 0 begins in the region, bytes.
  package var memoryOffset: Int
  package var chunkSize: Int
  /// Where buffers begin in their chunks, bytes.
  package var headroom: Int
  package var longestChain: Int
  package var mayOverlap: Bool
  /// The short cut of a veth; nil where there cannot be one.
  package var shortCut: ShortCutRecipe?

  package init(
    _ direction: Direction, stateOffset: Int, layout: XDPPairLayout, ringSize: UInt32,
    memoryOffset: Int, chunkSize: Int, headroom: Int, longestChain: Int, mayOverlap: Bool
  ) {
    self.direction = direction
    self.stateOffset = stateOffset
    self.layout = layout
    self.ringSize = ringSize
    self.memoryOffset = memoryOffset
    self.chunkSize = chunkSize
    self.headroom = headroom
    self.longestChain = longestChain
    self.mayOverlap = mayOverlap
  }

  /// The queue of the pair: the states of all pairs of a port follow each other.
  var queue: Int { stateOffset / layout.byteCount }

  /// The same as a list of numbers, for another process.
  package var numbers: [UInt64] {
    [
      stateOffset, layout.transmitSlots, layout.receiveSlots, layout.bufferCount, Int(ringSize),
      memoryOffset, chunkSize, longestChain, mayOverlap ? 1 : 0, headroom,
    ].map { UInt64($0) }
      + (shortCut.map { [UInt64($0.layout.pairs), UInt64($0.layout.slots), UInt64($0.side)] } ?? [])
  }

  /// Reads such a list; nil when its numbers are out of range.
  init?(_ direction: Direction, _ numbers: [UInt64]) {
    guard numbers.count == 10 || numbers.count == 13,
      numbers.allSatisfy({ $0 <= UInt64(Int32.max) * 64 })
    else {
      return nil
    }
    let values = numbers.map { Int($0) }
    let chunkSize = values[6]
    guard (1...65_536).contains(values[1]), (1...65_536).contains(values[2]),
      (2...1 << 24).contains(values[3]), (1...1 << 20).contains(values[4]),
      values[4] & (values[4] - 1) == 0, [2048, 4096].contains(chunkSize),
      RegionLayout.headrooms.contains(values[9])
    else { return nil }
    self.init(
      direction, stateOffset: values[0],
      layout: XDPPairLayout(
        transmitSlots: values[1], receiveSlots: values[2], bufferCount: values[3]),
      ringSize: UInt32(values[4]), memoryOffset: values[5], chunkSize: chunkSize,
      headroom: values[9], longestChain: values[7], mayOverlap: values[8] != 0)
    guard values.count == 13 else { return }
    guard let layout = ShortCutLayout(pairs: values[10], slots: values[11]), values[12] <= 1,
      layout.slots == values[1], layout.slots == values[2], queue < layout.pairs
    else { return nil }
    shortCut = ShortCutRecipe(layout: layout, side: values[12])
  }
}

/// One ring of a pair, in a process that syncs it. Owns everything that the ring driver uses.
@safe
package final class XDPRing {
  private let socket: OwnedFile
  private let rings: XDPRingMapping
  private let state: SharedMemory
  private let memory: PortMemory
  private let work: XDPWorkMapping?
  private let shortCut: SharedMemory?
  /// The ring's lane; nil where there cannot be a short cut.
  private let lane: ShortCutLane?
  private let place: UnsafeMutableRawPointer
  package let direction: Direction

  /// - Parameters:
  ///   - recipe: The numbers that the control side provides.
  ///   - socket: The pair's socket.
  ///   - state: The port's state memory.
  ///   - memory: Region and owner bytes.
  ///   - work: The counters of the XDP program, for a receive ring on whose interface it completes frames.
  ///   - shortCut: The memory of the short cut, if `recipe` names one.
  ///   - subject: The name of the port, for messages.
  /// - Throws: ``NetmapError``: `EINVAL` for numbers that do not fit the memory, or the `errno` of mapping the
  ///   rings.
  package init(
    _ recipe: XDPRecipe, socket: OwnedFile, state: SharedMemory, memory: PortMemory,
    work: XDPWorkMapping? = nil, shortCut: SharedMemory? = nil, subject: String
  ) throws(NetmapError) {
    let layout = recipe.layout
    let bytes = recipe.chunkSize * (layout.bufferCount + 1)
    guard recipe.stateOffset <= state.byteCount - layout.byteCount,
      recipe.stateOffset % 128 == 0, layout.bufferCount == Int(memory.ownership.count),
      recipe.memoryOffset <= memory.region.byteCount - bytes,
      recipe.shortCut.map({ $0.layout.byteCount <= shortCut?.byteCount ?? 0 }) ?? true
    else {
      throw NetmapError(
        .invalidArgument, "attach", subject, reason: "the description of its memory is damaged",
        remedy: "use one version of netmap for all processes")
    }
    self.socket = socket
    self.state = state
    self.memory = memory
    self.work = work
    self.shortCut = shortCut
    direction = recipe.direction
    var lane: ShortCutLane?
    if let place = recipe.shortCut, let shortCut {
      let side = recipe.direction == .transmit ? place.side : 1 - place.side
      unsafe lane = place.layout.lane(recipe.queue, from: side, shortCut.base)
    }
    unsafe self.lane = unsafe lane
    rings = try XDPRingMapping(
      recipe.direction, of: socket.descriptor, size: recipe.ringSize, subject: subject)
    let common = unsafe XDPCommon(
      file: socket.descriptor, memory: memory.region.base + recipe.memoryOffset,
      headroom: recipe.headroom, chunkSize: recipe.chunkSize, ownership: memory.ownership,
      longestChain: recipe.longestChain, mayOverlap: recipe.mayOverlap)
    let words = unsafe state.base + recipe.stateOffset
    switch recipe.direction {
    case .transmit:
      let half = UnsafeMutablePointer<XDPTransmit>.allocate(capacity: 1)
      unsafe half.initialize(to: XDPTransmit(common, rings, state: words, layout, lane: lane))
      unsafe place = UnsafeMutableRawPointer(half)
    case .receive:
      let half = UnsafeMutablePointer<XDPReceive>.allocate(capacity: 1)
      unsafe half.initialize(
        to: XDPReceive(
          common, rings, state: words, layout, counters: work?.counters, lane: lane))
      unsafe place = UnsafeMutableRawPointer(half)
    }
  }

  deinit {
    unsafe place.deallocate()
  }

  /// The ring driver. It must not outlive this object.
  package var ringDriver: RingDriverFunction {
    switch direction {
    case .transmit:
      let synchronize =
        unsafe lane == nil ? XDPTransmit.synchronize : XDPTransmit.synchronizeWithLane
      var result = unsafe RingDriverFunction(context: place, synchronize: synchronize)
      unsafe result.waitWord = unsafe lane?.roomWait
      // POLLOUT of an XDP socket means that its ring has room, which it always has. Completions wake no sleeper.
      unsafe result.isPolled = true
      return unsafe result
    case .receive:
      let synchronize =
        unsafe lane != nil
        ? XDPReceive.synchronizeWithLane
        : work == nil ? XDPReceive.synchronize : XDPReceive.synchronizeFinished
      var result = unsafe RingDriverFunction(context: place, synchronize: synchronize)
      unsafe result.pollDescriptor = socket.descriptor
      unsafe result.pollEvents = Int16(POLLIN)
      unsafe result.waitWord = unsafe lane?.arrivalWait
      unsafe result.briefSleep = unsafe lane?.briefSleep
      return unsafe result
    }
  }

  /// The view of a transmit ring; traps for the other kind.
  package var transmit: XDPTransmit {
    precondition(direction == .transmit)
    return unsafe place.assumingMemoryBound(to: XDPTransmit.self).pointee
  }

  /// The view of a receive ring; traps for the other kind.
  package var receive: XDPReceive {
    precondition(direction == .receive)
    return unsafe place.assumingMemoryBound(to: XDPReceive.self).pointee
  }
}
