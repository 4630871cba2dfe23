/// A tunable of netmap: a parameter of its kernel module, under the module's own name (netmap(4);
/// `/sys/module/netmap/parameters`, `dev.netmap` of sysctl(8)).
package enum Tunable: String, CaseIterable, Hashable, Sendable {
  case verbose
  case debug
  case noTimestamp = "no_timestamp"
  case noPendingInterrupt = "no_pendintr"
  case transmitRetries = "txsync_retry"
  case forward = "fwd"
  case adapterMode = "admode"
  case genericChecksum = "generic_hwcsum"
  case genericMitigation = "generic_mit"
  case genericRingSize = "generic_ringsize"
  case genericRings = "generic_rings"
  case genericQueueing = "generic_txqdisc"
  case guestHeader = "ptnet_vnet_hdr"

  case interfaceSize = "if_size"
  case interfaceCurrentSize = "if_curr_size"
  case interfaceCount = "if_num"
  case interfaceCurrentCount = "if_curr_num"
  case ringSize = "ring_size"
  case ringCurrentSize = "ring_curr_size"
  case ringCount = "ring_num"
  case ringCurrentCount = "ring_curr_num"
  case bufferSize = "buf_size"
  case bufferCurrentSize = "buf_curr_size"
  case bufferCount = "buf_num"
  case bufferCurrentCount = "buf_curr_num"

  case privateInterfaceSize = "priv_if_size"
  case privateInterfaceCount = "priv_if_num"
  case privateRingSize = "priv_ring_size"
  case privateRingCount = "priv_ring_num"
  case privateBufferSize = "priv_buf_size"
  case privateBufferCount = "priv_buf_num"

  case switchBatch = "bridge_batch"
  case switchCount = "max_bridges"
  case defaultPipes = "default_pipes"
  case sinkCount = "sink_num"
  case sinkDelay = "sink_delay_ns"

  package var name: String { rawValue }
}

extension Tunable {
  /// When a new value begins to count.
  package enum Effect: String, Sendable {
    /// From the next sync on.
    case atOnce = "at once"
    /// For ports that are opened, or created, after the change.
    case nextOpen = "next open"
    /// When the memory that interfaces share is made again: no port and no closed port's view may use it then.
    case nextRegion = "next region"
    /// Only as a setting with which netmapd starts.
    case start
    /// Never: what it sets in the kernel module does not exist here.
    case none
    /// It cannot be set. It shows what is in use.
    case readOnly = "read-only"
  }

  /// What a tunable accepts and means.
  package struct Rule: Sendable {
    package let effect: Effect
    package let standard: Int
    /// The accepted values. Another value is refused, or corrected where netmap corrects it
    /// (``Tunables/set(_:to:by:)``).
    package let range: ClosedRange<Int>
    /// Whether only powers of two in ``range`` are accepted.
    package let isPowerOfTwo: Bool
    /// One line for users. For ``Effect/none`` it says why.
    package let meaning: String

    init(
      _ effect: Effect, _ standard: Int, _ range: ClosedRange<Int>, isPowerOfTwo: Bool = false,
      _ meaning: String
    ) {
      self.effect = effect
      self.standard = standard
      self.range = range
      self.isPowerOfTwo = isPowerOfTwo
      self.meaning = meaning
    }
  }
}
