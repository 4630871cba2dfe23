package import ToolSupport

/// Everything that a run needs to know, checked as far as that is possible without a port.
///
/// The traditional command line fills it; another front end may as well.
package struct Configuration: Sendable {
  package var mode = Mode.rx
  package var interface = InterfaceName.null
  /// Packets to send or receive; 0 for no limit.
  package var packetLimit: UInt64 = 0
  /// Bytes of a frame without CRC and virtio header, ``sizes``.
  package var size = 60
  /// The smallest size, where sizes vary in `minimumSize..<size`; nil where they do not.
  package var minimumSize: Int?
  /// Draw a size for every packet and not for every visit of a ring.
  package var sizePerPacket = false
  /// Packets in a batch, at most.
  package var burst = Mode.rx.defaultBurst

  package var family = Family.ipv4
  package var source: AddressRange
  package var destination: AddressRange
  package var sourceText: String
  package var destinationText: String
  /// Nil for the address of the interface.
  package var sourceMACText: String?
  package var destinationMACText = MACAddress.broadcastText

  /// The CPU of the first thread; nil for any.
  package var affinity: Int?
  package var cpus = 1
  /// The modulus of thread numbers when they are turned into CPUs.
  package var affinityModulus = 1
  package var threads = 1
  package var reportInterval: UInt64 = 1_000_000_000
  /// Seconds to wait after opening; nil for what suits the port.
  package var linkWait: Int?
  package var exitsWhenIdle = false
  package var verbosity = 0

  /// Packets per second and thread; 0 for no limit.
  package var rate = 0
  /// The rate is that of all threads together.
  package var isRateTotal = false
  /// Begin on a whole second, so that several generators start together. Off in tests.
  package var alignsStart = true

  package var options: GenerationOptions = []
  /// Copying was asked for itself, so that all of each packet is written; a range of addresses only
  /// needs new headers.
  package var copiesWholeFrame = false
  package var rings: RingConfiguration?
  package var virtioHeaderLength = 0
  package var packetFile: String?
  /// Slots of a packet.
  package var fragments = 1
  /// Bytes in a slot, at most; nil for what a buffer holds.
  package var fragmentSize: Int?

  package var scaling = UnitScaling.scaled
  /// Bits that each packet takes on the wire besides its own.
  package var framingBits = 0
  /// Spin on syncs instead of sleeping.
  package var busyWaits = false
  package var printsJSON = false
  /// Open ports in this process alone, without netmapd.
  package var isEmbedded = false

  static let sizes = 16...65536
  static let fragmentCounts = 1...63

  /// The default run of a mode.
  package init(_ mode: Mode, on interface: InterfaceName) throws(Refusal) {
    self.mode = mode
    self.interface = interface
    burst = mode.defaultBurst
    sourceText = family.defaultSource
    destinationText = family.defaultDestination
    source = try AddressRange(sourceText, family: family)
    destination = try AddressRange(destinationText, family: family)
  }

  /// Whether every packet is to be written anew.
  var copies: Bool {
    !options.isDisjoint(with: [.copy, .memcpy]) || variesAddresses || updatesLength
  }

  /// Whether addresses or ports differ between packets.
  var variesAddresses: Bool {
    packetFile == nil
      && (source.varies || destination.varies
        || !options.isDisjoint(with: [.randomSource, .randomDestination]))
  }

  /// Whether headers follow the size.
  var updatesLength: Bool {
    minimumSize != nil && options.contains(.updateChecksum) && packetFile == nil
  }

  /// Packets per second of one thread; 0 for no limit.
  var ratePerThread: Int {
    isRateTotal && rate > 0 ? max(1, rate / threads) : rate
  }

  /// How many packets thread `index` has to do; 0 for no limit. The first threads take the remainder.
  func packetLimit(ofThread index: Int) -> UInt64 {
    let share = packetLimit / UInt64(threads)
    return share + (UInt64(index) < packetLimit % UInt64(threads) ? 1 : 0)
  }
}
