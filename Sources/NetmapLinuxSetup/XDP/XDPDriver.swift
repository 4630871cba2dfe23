internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux
internal import Synchronization

/// AF_XDP in one mode, as a backend candidate.
struct XDPCandidate: BackendCandidate {
  let name = PortSpecification.BackendChoice.Name.xdp
  let mode: PortSpecification.BackendChoice.Mode?
  let memory: XDPMemory

  /// Generic XDP runs before packets enter the host stack, also for those that an application sends to the host: it
  /// would hand them to the application again.
  var excludesHostRings: Bool { mode == .generic }

  func drive(
    _ interface: LinuxInterface, isDemanded: Bool
  ) throws(NetmapError) -> any InterfaceDriver {
    // Spares the loading of a program that would be detached again at once.
    if !isDemanded, mode == .zerocopy, interface.arrivingFrames.canBeFinishedByXDP {
      throw NetmapError(
        .unsupported, "open", interface.name, reason: "a veth has no zero-copy mode")
    }
    if !isDemanded, mode != .generic, interface.arrivingFrames == .describedByPrograms {
      throw NetmapError(
        .unsupported, "open", interface.name,
        reason: "programs write frames with virtio-net headers to this tap, and AF_XDP does not"
          + " see the headers",
        remedy: "choose another backend (@backend:name=packet)")
    }
    return XDPDriver(interface, mode ?? .copy, memory, isDemanded: isDemanded)
  }
}

/// Drives an interface by XDP sockets, one for each ring pair.
///
/// A ring pair starts in this order: XDP program, socket, fill ring. Only then does the program hand the queue to
/// the socket, so that no frame is lost on the way. A pair stops in the opposite order. The calls come one at a
/// time.
final class XDPDriver: InterfaceDriver {
  private typealias Mode = PortSpecification.BackendChoice.Mode

  /// One ring pair: the socket, and this process's view of the state that its ring drivers use.
  @safe
  private struct Pair {
    let socket: XDPSocket
    let transmit: XDPRing
    let receive: XDPRing
    /// The numbers from which other processes make their view. The direction is that of the receive ring.
    let recipe: XDPRecipe
    let region: Region
    /// Rings that have been started at least once.
    var rings: [Direction: Ring] = unsafe [:]
  }

  private let interface: LinuxInterface
  private let mode: PortSpecification.BackendChoice.Mode
  private let memory: XDPMemory
  private let isDemanded: Bool
  private nonisolated(unsafe) var program: (any AttachedXDPProgram)?
  private nonisolated(unsafe) var pairs: [Int: Pair] = [:]
  /// The words of all pairs, in memory that every process on the port maps.
  private nonisolated(unsafe) var state: SharedMemory?
  /// The end of a veth short cut; nil where there cannot be one.
  private nonisolated(unsafe) var end: ShortCutEnd?

  /// - Parameters:
  ///   - interface: The interface.
  ///   - mode: The mode of AF_XDP.
  ///   - memory: The XDP sockets of the engine.
  ///   - isDemanded: Whether the user insists on AF_XDP. If not, a veth may be joined with its peer in shared memory.
  init(
    _ interface: LinuxInterface, _ mode: PortSpecification.BackendChoice.Mode, _ memory: XDPMemory,
    isDemanded: Bool
  ) {
    self.interface = interface
    self.mode = mode
    self.memory = memory
    self.isDemanded = isDemanded
  }

  /// Says that frames arrive incomplete, and whether they are completed, if the port receives.
  var remarks: [String] {
    guard unsafe pairs.values.contains(where: { unsafe $0.rings[.receive] != nil }) else {
      return []
    }
    let frames = interface.arrivingFrames
    if unsafe program?.workDescriptor != nil {
      return [frames.remarkOfFinished(on: interface.name)]
    }
    return frames.remark(for: interface.name).map { [$0] } ?? []
  }

  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) {
    let region = unsafe placement.region
    guard !region.layout.isExact else {
      throw NetmapError(
        .unsupported, "open", interface.name,
        reason: "AF_XDP cannot use memory of the program, which has no room for its headroom",
        remedy: "leave '@backend' and the host rings ('^', '*') out")
    }
    let chunkSize = region.layout.buffers.size
    guard chunkSize == 2048 || chunkSize == 4096 else {
      throw NetmapError(
        .invalidArgument, "open", interface.name,
        reason: "AF_XDP needs buffers of 2048 or 4096 bytes, and buffers of memory region"
          + " \(region.id) have \(chunkSize)", remedy: "open it in another region (@1)")
    }
    let wasAttached = unsafe program != nil
    // Some network drivers need the program before they give a queue to a socket without copying.
    if unsafe placement.receives || mode == .zerocopy { try attachProgram() }
    if !isDemanded, mode == .copy, unsafe pairs.isEmpty {
      unsafe end = memory.shortCuts.end(
        of: interface, placement.geometry, monitor: LinkMonitor.shared)
    }
    do throws(NetmapError) {
      unsafe try makePair(index, placement, chunkSize)
    } catch {
      if unsafe pairs.isEmpty { unsafe end = nil }
      if !wasAttached { unsafe program = nil }
      throw error
    }
  }

  private func makePair(
    _ index: Int, _ placement: PortPlacement, _ chunkSize: Int
  ) throws(NetmapError) {
    let region = unsafe placement.region
    let slots = unsafe placement.geometry
    var headroom = unsafe headroom(of: index, placement, chunkSize)
    let ringSlots = max(slots.transmitSlots, slots.receiveSlots)
    let socket: XDPSocket
    do throws(NetmapError) {
      socket = try memory.socket(
        on: interface, queue: index, slots: ringSlots, region: region, headroom: headroom,
        zeroCopy: mode == .zerocopy)
    } catch {
      // Kernels and network drivers differ in the room that they want in a chunk.
      guard error.code == .invalidArgument, headroom != region.layout.headroom else { throw error }
      headroom = region.layout.headroom
      socket = try memory.socket(
        on: interface, queue: index, slots: ringSlots, region: region, headroom: headroom,
        zeroCopy: mode == .zerocopy)
    }
    let longestChain = socket.binding.isMultiBuffer ? Self.longestChain(mode) : 1
    try Self.checkMTU(of: interface, mode, longest: longestChain * (chunkSize - headroom))
    let buffers = region.layout.buffers
    let layout = XDPPairLayout(
      transmitSlots: slots.transmitSlots, receiveSlots: slots.receiveSlots,
      bufferCount: buffers.count)
    let state = try stateMemory(layout, pairs: max(slots.transmitRings, slots.receiveRings))
    var recipe = XDPRecipe(
      .transmit, stateOffset: index * layout.byteCount, layout: layout, ringSize: socket.ringSize,
      memoryOffset: buffers.offset, chunkSize: chunkSize, headroom: region.layout.headroom,
      longestChain: longestChain,
      mayOverlap: socket.binding.isMultiBuffer && mode != .zerocopy)
    let shortCut = unsafe end?.shortCut
    unsafe recipe.shortCut = end.map {
      ShortCutRecipe(layout: $0.shortCut.layout, side: $0.side)
    }
    state.clear(at: recipe.stateOffset, count: layout.byteCount)
    if let work = unsafe program?.workDescriptor {
      let mapping = try XDPWorkMapping(work, queue: index, subject: interface.name)
      unsafe XDPPairLayout.begin(after: mapping.counters.work, state.base + recipe.stateOffset)
    }
    let memory = try region.portMemory
    let file = OwnedFile(try OwnedFile.duplicate(socket.file))
    let transmit = try XDPRing(
      recipe, socket: file, state: state, memory: memory, shortCut: shortCut?.memory,
      subject: interface.name)
    recipe.direction = .receive
    let receive = try XDPRing(
      recipe, socket: file, state: state, memory: memory, shortCut: shortCut?.memory,
      subject: interface.name)
    unsafe pairs[index] = Pair(
      socket: socket, transmit: transmit, receive: receive, recipe: recipe, region: region)
  }

  /// Where the kernel puts the frames of a pair in their chunks, bytes.
  ///
  /// A slot of a ring with offsets takes fewer bytes than a chunk. With this headroom the kernel continues a longer
  /// frame in the next slot. The sync then moves each frame to its slot's offset.
  private func headroom(of index: Int, _ placement: PortPlacement, _ chunkSize: Int) -> Int {
    let layout = unsafe placement.region.layout
    guard unsafe index < placement.geometry.receiveRings,
      let kring = unsafe placement.segment.kring(
        end: 0, .receive, placement.firstReceiveRing + index),
      unsafe kring.offsetMask != 0
    else { return layout.headroom }
    let rule = layout.slotRule
    var room = unsafe kring.receiveRoom(rule)
    if mode == .zerocopy {
      room = unsafe min(room, chunkSize - layout.headroom - kring.largestOffset(rule))
    }
    let wanted = max(layout.headroom, (chunkSize - room + 63) / 64 * 64)
    return min(wanted, chunkSize - Self.shortestPiece)
  }

  /// The least room for a frame that a pair leaves in a chunk, bytes, whatever offsets were agreed on.
  ///
  /// The kernel refuses less than it needs behind the frame for its own bookkeeping, which is about 320 bytes.
  private static let shortestPiece = 448

  private func stateMemory(
    _ layout: XDPPairLayout, pairs: Int
  ) throws(NetmapError) -> SharedMemory {
    if let known = unsafe state { return known }
    let made = try SharedMemory(
      creating: "netmap-xdp-\(interface.name)", byteCount: layout.byteCount * pairs)
    unsafe state = made
    return made
  }

  func start(_ ring: RingPlacement) throws(NetmapError) {
    let index = unsafe ring.index
    guard var pair = unsafe pairs[index] else { return }
    let direction = unsafe ring.direction
    let isNew = unsafe pair.rings[direction] == nil
    unsafe pair.rings[direction] = unsafe ring.ring
    unsafe pairs[index] = pair
    if direction == .receive {
      try attachProgram()
      if isNew { unsafe pair.receive.receive.prime(ring) }
      unsafe try program?.add(socket: pair.socket.file, queue: index)
    }
    if let end = unsafe end {
      let half = direction == .transmit ? pair.transmit : pair.receive
      unsafe end.shortCut.start(ring, half, pair.region, side: end.side)
    }
  }

  func stop(_ ring: RingPlacement) {
    if unsafe ring.direction == .receive { unsafe program?.remove(queue: ring.index) }
    if let end = unsafe end {
      unsafe end.shortCut.stop(ring.direction, ring.index, side: end.side)
    }
  }

  func deactivate(pair index: Int) {
    guard let pair = unsafe pairs.removeValue(forKey: index) else { return }
    // The kernel must still send the packets that it was given. A few milliseconds are enough, unless the interface
    // is down.
    for _ in 0..<20 where unsafe !pair.transmit.transmit.drain() { usleep(1000) }
    if let end = unsafe end { end.shortCut.endSender(index, side: end.side) }
    if unsafe pairs.isEmpty { unsafe program = nil }
    memory.noteRelease(of: interface, queue: index)
    close(pair, index)
    if unsafe pairs.isEmpty { unsafe end = nil }
  }

  func leaveInterface() { unsafe program = nil }

  /// Closes the socket, and returns every buffer that was lent to the slot that lent it.
  ///
  /// Another process may hold the socket a while longer. Then the kernel writes nothing new to the buffers, and the
  /// engine does not reuse them until that process has let go of the ring.
  private func close(_ pair: consuming Pair, _ index: Int) {
    // The ledgers are in memory that outlives the socket.
    guard let state = unsafe state else { return }
    let lent = unsafe XDPReturn(
      state: state.base + pair.recipe.stateOffset, pair.recipe.layout, pair.region.ownership)
    let rings = unsafe pair.rings
    let isZeroCopy = pair.socket.binding.isZeroCopy
    discard(pair)
    // The kernel takes a queue back some time after the close, and until then a zero-copy driver may
    // write to the buffers. In copy mode nothing is written once close(2) has returned.
    if isZeroCopy { usleep(20_000) }
    if let end = unsafe end {
      unsafe end.shortCut.release(index, rings[.receive], side: end.side)
    }
    unsafe lent.returnBuffers(to: rings[.transmit], rings[.receive])
  }

  /// Drops the last reference to the socket.
  private func discard(_ pair: consuming Pair) {}

  func recipe(for ring: RingPlacement) throws(NetmapError) -> RingDriverRecipe {
    guard let pair = unsafe pairs[ring.index], let state = unsafe state else {
      throw NetmapError(
        .inputOutput, "attach", interface.name, reason: "the ring pair is not active")
    }
    let kind: LinuxRingDrivers.Kind =
      unsafe ring.direction == .transmit ? .xdpTransmit : .xdpReceive
    var result = RingDriverRecipe(
      kind: kind.rawValue, numbers: pair.recipe.numbers,
      files: [pair.socket.file, state.descriptor])
    if let shortCut = unsafe end?.shortCut {
      result.files.append(shortCut.memory.descriptor)
      result.sharedMemory = ObjectIdentifier(shortCut)
    }
    if let program = unsafe program {
      // The link keeps the program attached after this process has ended.
      result.held = [program.linkDescriptor]
      if kind == .xdpReceive, let work = program.workDescriptor { result.files.append(work) }
    }
    return result
  }

  /// Attaches the program, unless it is attached already: the one that completes frames, where it is needed.
  private func attachProgram() throws(NetmapError) {
    guard unsafe program == nil else { return }
    guard mode != .generic, interface.arrivingFrames.canBeFinishedByXDP else {
      unsafe program = try interface.rights.xdpProgram(
        on: interface, mode == .generic ? .generic : .plain)
      return
    }
    do throws(NetmapError) {
      unsafe program = try interface.rights.xdpProgram(on: interface, .finishing)
    } catch {
      guard isDemanded, !error.code.endsSelection else { throw error }
      unsafe program = try interface.rights.xdpProgram(on: interface, .plain)
    }
  }

  /// The most chunks that a frame takes where sockets take frames of several chunks.
  ///
  /// In copy mode, the kernel takes frames of a head and MAX_SKB_FRAGS (17) fragments. In zero-copy mode the limit
  /// depends on the network driver. Every one with multi-buffer support takes at least 4.
  private static func longestChain(_ mode: PortSpecification.BackendChoice.Mode) -> Int {
    mode == .zerocopy ? 4 : 18
  }

  /// Refuses an interface whose frames are too long for the global region, on kernels since Linux 6.6.
  static func checkMTU(of interface: LinuxInterface, _ mode: PortSpecification.BackendChoice.Mode)
    throws(NetmapError)
  {
    let room = RegionParameters.global.bufferSize - RegionLayout.kernelHeadroom
    try checkMTU(of: interface, mode, longest: longestChain(mode) * room)
  }

  private static func checkMTU(
    of interface: LinuxInterface, _ mode: PortSpecification.BackendChoice.Mode, longest: Int
  ) throws(NetmapError) {
    guard interface.longestFrame > longest else { return }
    throw NetmapError(
      .invalidArgument, "open", interface.name,
      reason: "its MTU is \(interface.mtu), and in mode \(mode.rawValue) AF_XDP takes frames of at"
        + " most \(longest) bytes (MTU \(longest - 18))",
      remedy: "lower it (ip link set dev \(interface.name) mtu \(min(longest - 18, 1500)))")
  }
}
