/// An option that a port specification may carry after `@`.
///
/// The first four are libnetmap's; ``backend`` and ``backpressure`` are additions of this implementation.
public enum PortOption: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
  /// `@share=PORT`: use the memory region of another port.
  case share
  /// `@conf:rings=4,slots=512`: ring counts and sizes.
  case conf
  /// `@extmem:file=PATH,buf-num=1000`: use a file as memory.
  case extmem
  /// `@offset:initial=64,bits=16`: packets start at an offset in their buffers.
  case offset
  /// `@backend:name=xdp,mode=copy`: the way packets reach the network interface.
  case backend
  /// `@backpressure`: senders on a switch keep packets that do not fit in the port's rings, instead of dropping
  /// them.
  case backpressure

  /// The options that a parser accepts by default.
  ///
  /// ``offset`` is missing, as in libnetmap: a program that ignores slot offsets would
  /// read and send the wrong bytes.
  public static let standard: Set<PortOption> = [
    .share, .conf, .extmem, .backend, .backpressure,
  ]

  /// The option as written after `@`.
  public var description: String { rawValue }
}

extension PortOption {
  /// The keys of the option, in the order in which messages list them.
  var keys: [PortOptionKey] {
    switch self {
    case .backpressure: []
    case .share: [.port]
    case .conf:
      [
        .rings, .transmitRings, .receiveRings, .hostRings, .hostTransmitRings, .hostReceiveRings,
        .slots, .transmitSlots, .receiveSlots,
      ]
    case .extmem: [.file, .ifNum, .ifSize, .ringNum, .ringSize, .bufNum, .bufSize]
    case .offset: [.initial, .bits]
    case .backend: [.name, .mode]
    }
  }

  /// The key that `@option=value` sets.
  ///
  /// The documentation of libnetmap gives `conf` the default key `rings`, although libnetmap's code rejects this
  /// form.
  var defaultKey: PortOptionKey? {
    switch self {
    case .backpressure: nil
    case .share: .port
    case .conf: .rings
    case .extmem: .file
    case .offset: .initial
    case .backend: .name
    }
  }

  /// The key that the option requires; nil when any key is enough.
  var mandatoryKey: PortOptionKey? {
    switch self {
    case .share: .port
    case .extmem: .file
    case .offset: .initial
    case .conf, .backend, .backpressure: nil
    }
  }
}

/// A key of a port option in its canonical spelling; users may write `_` for `-`.
enum PortOptionKey: String, Hashable, Sendable {
  case port
  case rings
  case transmitRings = "tx-rings"
  case receiveRings = "rx-rings"
  case hostRings = "host-rings"
  case hostTransmitRings = "host-tx-rings"
  case hostReceiveRings = "host-rx-rings"
  case slots
  case transmitSlots = "tx-slots"
  case receiveSlots = "rx-slots"
  case file
  case ifNum = "if-num"
  case ifSize = "if-size"
  case ringNum = "ring-num"
  case ringSize = "ring-size"
  case bufNum = "buf-num"
  case bufSize = "buf-size"
  case initial
  case bits
  case name
  case mode
}

/// A `key=value` pair of an option's text.
struct PortOptionPair {
  let key: PortOptionKey
  let value: String

  init(_ key: PortOptionKey, _ value: String) {
    self.key = key
    self.value = value
  }

  /// A numeric pair; nil for 0, which means "not given" for every option.
  init?(_ key: PortOptionKey, nonzero value: some FixedWidthInteger) {
    if value == 0 { return nil }
    self.init(key, "\(value)")
  }
}
