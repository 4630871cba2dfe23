internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux

/// What one ring of a port needs of the operating system, for as long as somebody holds the ring.
@safe
final class PacketRing {
  private let socket: PacketSocket
  private let cursors: SharedMemory
  /// What the data half of the ring works on; this object's own.
  private let context: UnsafeMutableRawPointer
  private let direction: Direction

  /// Makes a receive ring: a socket that receives whatever arrives on the interface.
  ///
  /// - Parameters:
  ///   - ring: The ring; its buffers' owner bytes must outlive this object.
  ///   - interface: Where from.
  ///   - socket: A fresh one.
  ///   - prepare: Called once the socket is bound but still lets nothing in.
  /// - Throws: ``NetmapError`` `EPERM`, `ENXIO`, `ENOMEM`, `EMFILE`.
  init(
    receiving ring: RingPlacement, on interface: LinuxInterface, socket: PacketSocket,
    prepare: (PacketSocket) throws(NetmapError) -> Void
  ) throws(NetmapError) {
    direction = .receive
    self.socket = socket
    cursors = try SharedMemory(
      creating: "netmap-packet-\(interface.name)", byteCount: PacketCursorLayout.byteCount)
    let layout = unsafe PacketReceiveLayout(slots: Int(ring.ring.slotCount))
    try socket.set(PACKET_IGNORE_OUTGOING, 1, "setsockopt(PACKET_IGNORE_OUTGOING)")
    var request = tpacket_req3()
    request.tp_block_size = UInt32(PacketReceiveLayout.blockBytes)
    request.tp_block_nr = UInt32(layout.blockCount)
    request.tp_frame_size = UInt32(PacketReceiveLayout.frameBytes)
    request.tp_frame_nr = UInt32(layout.byteCount / PacketReceiveLayout.frameBytes)
    request.tp_retire_blk_tov = UInt32(PacketReceiveLayout.retireTimeoutMilliseconds)
    try socket.map(PACKET_RX_RING, request)
    socket.setClosed(true)
    try socket.bind(protocol: Int(ETH_P_ALL))
    try prepare(socket)
    guard let blocks = unsafe socket.ring else { preconditionFailure("the ring was mapped") }
    let half = unsafe PacketReceiver(
      socket: socket.descriptor, blocks: blocks, layout: layout, cursors: cursors.base,
      ownership: ring.ownership)
    _ = unsafe half.kernelDrops()
    socket.setClosed(false)
    let place = UnsafeMutablePointer<PacketReceiver>.allocate(capacity: 1)
    unsafe place.initialize(to: half)
    unsafe context = UnsafeMutableRawPointer(place)
  }

  /// Makes a transmit ring: a socket that sends on the interface, past its queueing discipline.
  ///
  /// - Parameters:
  ///   - ring: The ring; its buffers' owner bytes must outlive this object.
  ///   - interface: Where to.
  ///   - socket: A fresh one.
  /// - Throws: ``NetmapError`` `EPERM`, `ENXIO`, `ENOMEM`, `EMFILE`.
  init(
    transmitting ring: RingPlacement, on interface: LinuxInterface, socket: PacketSocket
  ) throws(NetmapError) {
    direction = .transmit
    self.socket = socket
    cursors = try SharedMemory(
      creating: "netmap-packet-\(interface.name)", byteCount: PacketCursorLayout.byteCount)
    let layout = unsafe PacketTransmitLayout(
      slots: Int(ring.ring.slotCount), mtu: interface.mtu)
    try socket.set(PACKET_QDISC_BYPASS, 1, "setsockopt(PACKET_QDISC_BYPASS)")
    // A frame that the kernel finds malformed is skipped; otherwise it would stop all that follow.
    try socket.set(PACKET_LOSS, 1, "setsockopt(PACKET_LOSS)")
    var request = tpacket_req3()
    request.tp_block_size = UInt32(PacketTransmitLayout.blockBytes)
    request.tp_block_nr = UInt32(layout.blockCount)
    request.tp_frame_size = UInt32(layout.frameBytes)
    request.tp_frame_nr = UInt32(layout.frameCount)
    try socket.map(PACKET_TX_RING, request)
    try socket.bind(protocol: 0)
    cursors.store(
      PacketTransmitCursor(frameLimit: UInt32(interface.mtu + 14)),
      at: PacketCursorLayout.transmit)
    guard let frames = unsafe socket.ring else { preconditionFailure("the ring was mapped") }
    let place = UnsafeMutablePointer<PacketSender>.allocate(capacity: 1)
    unsafe place.initialize(
      to: PacketSender(
        socket: socket.descriptor, frames: frames, layout: layout, cursors: cursors.base,
        ownership: ring.ownership))
    unsafe context = UnsafeMutableRawPointer(place)
  }

  deinit {
    unsafe context.deallocate()
  }

  /// Waits until the kernel has taken what a transmit ring was given: a few milliseconds are enough,
  /// unless the interface is down.
  func drain() {
    guard direction == .transmit else { return }
    let sender = unsafe context.assumingMemoryBound(to: PacketSender.self)
    for _ in 0..<20 where unsafe !sender.pointee.drain() { usleep(1000) }
  }

  /// The ring's data half. Both structures it works on are plain data.
  var dataHalf: BackendRing {
    switch direction {
    case .receive:
      var result = unsafe BackendRing(context: context, synchronize: PacketReceiver.synchronize)
      unsafe result.pollDescriptor = socket.descriptor
      unsafe result.pollEvents = Int16(POLLIN)
      return unsafe result
    case .transmit:
      // POLLOUT of a packet socket means that its buffer has room, which it nearly always has.
      var result = unsafe BackendRing(context: context, synchronize: PacketSender.synchronize)
      unsafe result.isPolled = true
      return unsafe result
    }
  }
}
