internal import Netmap
package import ToolSupport

/// The configuration of a run, checked as far as possible without a port.
///
/// The command line is one source of configurations; another front end may be another.
package struct Configuration: Sendable {
  package var mode = Mode.rx
  package var interface = InterfaceName.null
  /// Packets to send or receive; 0 for no limit.
  package var packetLimit: UInt64 = 0
  /// Bytes in a frame, without CRC and virtio header; in ``sizes``.
  package var size = 60
  /// The smallest size, if sizes vary in `minimumSize..<size`; nil if they do not.
  package var minimumSize: Int?
  /// Choose a random size for every packet instead of for every batch on a ring.
  package var sizePerPacket = false
  /// Maximum number of packets in a batch.
  package var burst = Mode.rx.defaultBurst

  package var family = Family.ipv4
  package var source: AddressRange
  package var destination: AddressRange
  package var sourceText: String
  package var destinationText: String
  /// The source MAC address; nil for the interface's address.
  package var sourceMACText: String?
  package var destinationMACText = MACAddress.broadcast.description

  /// The CPU of the first thread; nil for any CPU.
  package var affinity: Int?
  package var cpus = 1
  /// A thread's CPU is its number plus ``affinity``, modulo this.
  package var affinityModulus = 1
  package var threads = 1
  package var reportInterval: UInt64 = 1_000_000_000
  /// Seconds to wait after opening; nil for the port's default.
  package var linkWait: Int?
  package var exitsWhenIdle = false
  package var verbosity = 0

  /// Packets per second for each thread; 0 for no limit.
  package var rate = 0
  /// Whether ``rate`` applies to all threads together.
  package var isRateTotal = false
  /// Start on a whole second, so that several generators start together; off in tests.
  package var alignsStart = true

  package var options: GenerationOptions = []
  /// Whether the user asked for copying, so that each packet is written completely; a range of
  /// addresses requires only new headers.
  package var copiesWholeFrame = false
  package var rings: RingConfiguration?
  package var virtioHeaderLength = 0
  package var packetFile: String?
  /// Slots per packet.
  package var fragments = 1
  /// Maximum number of bytes in a slot; nil for the size of a buffer.
  package var fragmentSize: Int?

  package var scaling = UnitScaling.scaled
  /// Bits per packet on the wire in addition to the frame.
  package var framingBits = 0
  /// Whether to spin on syncs instead of sleeping.
  package var busyWaits = false
  package var printsJSON = false
  /// Whether to open ports in this process only, without netmapd.
  package var isEmbedded = false

  static let sizes = 16...65536
  static let fragmentCounts = 1...63

  /// The default configuration of a mode.
  package init(_ mode: Mode, on interface: InterfaceName) throws(Refusal) {
    self.mode = mode
    self.interface = interface
    burst = mode.defaultBurst
    sourceText = family.defaultSource
    destinationText = family.defaultDestination
    source = try AddressRange(sourceText, family: family)
    destination = try AddressRange(destinationText, family: family)
  }

  /// Whether every packet must be written.
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

  /// Maximum number of packets for thread `index`; 0 for no limit; the first threads take the
  /// remainder.
  func packetLimit(ofThread index: Int) -> UInt64 {
    let share = packetLimit / UInt64(threads)
    return share + (UInt64(index) < packetLimit % UInt64(threads) ? 1 : 0)
  }
}
