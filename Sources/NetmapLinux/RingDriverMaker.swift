internal import Glibc
package import NetmapCore

/// Makes ring drivers for the rings of one port, in any process that syncs them.
///
/// It needs numbers, descriptors and mappings, but no library and no privilege.
package final class LinuxRingDrivers: RingDriverMaker {
  /// The kind of ring driver that a ``RingDriverRecipe`` describes.
  package enum Kind: UInt32 {
    case xdpTransmit = 1
    case xdpReceive = 2
    case packetTransmit = 3
    case packetReceive = 4
  }

  private let memory: PortMemory
  private let subject: String
  // Keyed by the descriptor that each was made from: the rings of one port share them.
  private var files: [CInt: OwnedFile] = [:]
  private var memories: [CInt: SharedMemory] = [:]

  /// - Parameters:
  ///   - memory: The port's region and owner bytes.
  ///   - subject: The port's name, for messages.
  package init(_ memory: PortMemory, subject: String) {
    self.memory = memory
    self.subject = subject
  }

  package func ringDriver(
    of recipe: RingDriverRecipe
  ) throws(NetmapError) -> RingDriver {
    guard let kind = Kind(rawValue: recipe.kind), (2...4).contains(recipe.files.count) else {
      throw damaged()
    }
    let (socket, state) = (try file(recipe.files[0]), try memory(recipe.files[1]))
    var (ring, owner): (RingDriverFunction, AnyObject)
    switch kind {
    case .xdpTransmit, .xdpReceive:
      let direction = kind == .xdpTransmit ? Direction.transmit : .receive
      guard let numbers = XDPRecipe(direction, recipe.numbers) else { throw damaged() }
      // After the socket and the state: the memory of the short cut, and the counters of the XDP program.
      var others = recipe.files[2...]
      var shortCut: SharedMemory?
      if numbers.shortCut != nil {
        guard let file = others.popFirst() else { throw damaged() }
        shortCut = try self.memory(file)
      }
      var work: XDPWorkMapping?
      if let file = others.popFirst() {
        guard kind == .xdpReceive, others.isEmpty else { throw damaged() }
        work = try XDPWorkMapping(file, queue: numbers.queue, subject: subject)
      }
      let half = try XDPRing(
        numbers, socket: socket, state: state, memory: memory, work: work, shortCut: shortCut,
        subject: subject)
      unsafe (ring, owner) = unsafe (half.ringDriver, half)
    case .packetTransmit, .packetReceive:
      let direction = kind == .packetTransmit ? Direction.transmit : .receive
      guard let numbers = PacketRecipe(direction, recipe.numbers), recipe.files.count == 2 else {
        throw damaged()
      }
      let half = try PacketHalf(
        numbers, socket: socket, state: state, memory: memory, subject: subject)
      unsafe (ring, owner) = unsafe (half.ringDriver, half)
    }
    var kept: [OwnedFile] = []
    for held in recipe.held { kept.append(try file(held)) }
    if recipe.alarm >= 0 {
      let alarm = try file(recipe.alarm)
      kept.append(alarm)
      unsafe ring.alarmDescriptor = alarm.descriptor
    }
    return unsafe RingDriver(ring: ring, owner: Owner(half: owner, kept: kept))
  }

  /// The objects that must live as long as the ring driver.
  private final class Owner {
    let half: AnyObject
    let kept: [OwnedFile]

    init(half: AnyObject, kept: [OwnedFile]) {
      self.half = half
      self.kept = kept
    }
  }

  private func file(_ descriptor: CInt) throws(NetmapError) -> OwnedFile {
    if let known = files[descriptor] { return known }
    let made = OwnedFile(private: try OwnedFile.duplicate(descriptor))
    files[descriptor] = made
    return made
  }

  private func memory(_ descriptor: CInt) throws(NetmapError) -> SharedMemory {
    if let known = memories[descriptor] { return known }
    let made = try SharedMemory(mapping: descriptor, keepsDescriptor: false)
    memories[descriptor] = made
    return made
  }

  private func damaged() -> NetmapError {
    NetmapError(
      .invalidArgument, "attach", subject, reason: "the description of its backend is damaged",
      remedy: "use one version of netmap for all processes")
  }
}
