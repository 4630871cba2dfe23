internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux

/// The operating system's resources for one ring of a port, for as long as a binding holds the ring.
final class PacketRing {
  /// The words that every process on the port shares.
  struct Words {
    let memory: SharedMemory
    /// Where the words of this ring begin in ``memory``, bytes.
    let offset: Int
    let port: PortMemory
  }

  private let socket: PacketSocket
  private let words: Words
  private let recipe: PacketRecipe
  /// This process's view of the ring.
  private let half: PacketHalf

  /// Makes a receive ring: a socket that receives all packets that arrive on the interface.
  ///
  /// - Parameters:
  ///   - ring: The ring; its buffers' owner bytes must outlive this object.
  ///   - interface: The interface to receive from.
  ///   - socket: A new socket, not bound yet.
  ///   - words: The words of the ring, filled with zeros.
  ///   - prepare: Called once the socket is bound, while it still rejects all packets.
  /// - Throws: ``NetmapError`` `EPERM`, `ENXIO`, `ENOMEM`, `EMFILE`.
  init(
    receiving ring: RingPlacement, on interface: LinuxInterface, socket: PacketSocket,
    words: Words, prepare: (PacketSocket) throws(NetmapError) -> Void
  ) throws(NetmapError) {
    self.socket = socket
    self.words = words
    recipe = unsafe PacketRecipe(
      .receive, stateOffset: words.offset, slots: Int(ring.ring.slotCount), mtu: interface.mtu)
    let layout = unsafe PacketReceiveLayout(slots: Int(ring.ring.slotCount))
    try socket.set(PACKET_IGNORE_OUTGOING, 1, "setsockopt(PACKET_IGNORE_OUTGOING)")
    var request = tpacket_req3()
    request.tp_block_size = UInt32(PacketReceiveLayout.blockBytes)
    request.tp_block_nr = UInt32(layout.blockCount)
    request.tp_frame_size = UInt32(PacketReceiveLayout.frameBytes)
    request.tp_frame_nr = UInt32(layout.byteCount / PacketReceiveLayout.frameBytes)
    request.tp_retire_blk_tov = UInt32(PacketReceiveLayout.retireTimeoutMilliseconds)
    try socket.makeRing(PACKET_RX_RING, request)
    socket.setClosed(true)
    try socket.bind(protocol: Int(ETH_P_ALL))
    try prepare(socket)
    half = try Self.half(recipe, socket, words, interface)
    _ = unsafe half.receiver.kernelDrops()
    unsafe half.receiver.begin(at: ring.kring.hwtail(below: ring.ring.slotCount) ?? 0)
    socket.setClosed(false)
  }

  /// Makes a transmit ring: a socket that sends on the interface, without its queueing discipline.
  ///
  /// - Parameters:
  ///   - ring: The ring; its buffers' owner bytes must outlive this object.
  ///   - interface: The interface to send on.
  ///   - socket: A new socket, not bound yet.
  ///   - words: The words of the ring, filled with zeros.
  /// - Throws: ``NetmapError`` `EPERM`, `ENXIO`, `ENOMEM`, `EMFILE`.
  init(
    transmitting ring: RingPlacement, on interface: LinuxInterface, socket: PacketSocket,
    words: Words
  ) throws(NetmapError) {
    self.socket = socket
    self.words = words
    recipe = unsafe PacketRecipe(
      .transmit, stateOffset: words.offset, slots: Int(ring.ring.slotCount), mtu: interface.mtu)
    let layout = unsafe PacketTransmitLayout(
      slots: Int(ring.ring.slotCount), mtu: interface.mtu)
    try socket.set(PACKET_QDISC_BYPASS, 1, "setsockopt(PACKET_QDISC_BYPASS)")
    // The kernel skips a malformed frame. Without this option it would stop there, and send none of the later
    // frames.
    try socket.set(PACKET_LOSS, 1, "setsockopt(PACKET_LOSS)")
    var request = tpacket_req3()
    request.tp_block_size = UInt32(PacketTransmitLayout.blockBytes)
    request.tp_block_nr = UInt32(layout.blockCount)
    request.tp_frame_size = UInt32(layout.frameBytes)
    request.tp_frame_nr = UInt32(layout.frameCount)
    try socket.makeRing(PACKET_TX_RING, request)
    try socket.bind(protocol: 0)
    half = try Self.half(recipe, socket, words, interface)
    unsafe half.sender.begin(at: ring.kring.hwcur(below: ring.ring.slotCount) ?? 0)
  }

  private static func half(
    _ recipe: PacketRecipe, _ socket: PacketSocket, _ words: Words,
    _ interface: LinuxInterface
  ) throws(NetmapError) -> PacketHalf {
    try PacketHalf(
      recipe, socket: OwnedFile(try OwnedFile.duplicate(socket.descriptor)),
      state: words.memory, memory: words.port, subject: interface.name)
  }

  /// Waits, 20 ms at most, until the kernel has taken the packets of a transmit ring. A few milliseconds are
  /// enough, unless the interface is down.
  func drain() {
    guard recipe.direction == .transmit else { return }
    for _ in 0..<20 where unsafe !half.sender.drain() { usleep(1000) }
  }

  /// The recipe of the ring driver, for this process and others.
  var interfaceRecipe: RingDriverRecipe {
    let kind: LinuxRingDrivers.Kind =
      recipe.direction == .transmit ? .packetTransmit : .packetReceive
    return RingDriverRecipe(
      kind: kind.rawValue, numbers: recipe.numbers,
      files: [socket.descriptor, words.memory.descriptor])
  }
}
