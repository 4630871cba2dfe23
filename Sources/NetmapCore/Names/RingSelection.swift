/// The rings of a port that a binding selects: `nr_mode` and `nr_ringid` of a register request.
///
/// The host's network stack sends and receives through host rings; switch ports and pipes have
/// none. Ring numbers count from 0 within their kind; the engine checks them when it binds the
/// port. See `NR_REG_*` in netmap(4).
public enum RingSelection: Hashable, Sendable {
  /// All hardware rings, no host rings (`NR_REG_ALL_NIC`).
  case allHardware
  /// All host rings, nothing else (`NR_REG_SW`).
  case host
  /// All hardware and all host rings (`NR_REG_NIC_SW`).
  case hardwareAndHost
  /// One pair of hardware rings (`NR_REG_ONE_NIC`).
  case oneHardware(UInt16)
  /// One pair of host rings (`NR_REG_ONE_SW`).
  case oneHost(UInt16)
  /// A port with rings that move no packets, whatever its name (`NR_REG_NULL`).
  ///
  /// A port specification cannot request it.
  case null
}

extension RingSelection {
  /// Creates a selection from the two numbers of a register request.
  ///
  /// - Parameters:
  ///   - rawMode: `nr_mode`: 1, 2, 3, 4, 7 or 8.
  ///   - ringID: `nr_ringid`; used for modes 4 and 8, ignored for the others.
  /// - Throws: `NetmapError`, `EINVAL`, for mode 0 and the pipe modes 5 and 6, which only the
  ///   legacy interface has, and for modes above 8.
  public init(rawMode: UInt32, ringID: UInt16) throws(NetmapError) {
    switch rawMode {
    case 1: self = .allHardware
    case 2: self = .host
    case 3: self = .hardwareAndHost
    case 4: self = .oneHardware(ringID)
    case 7: self = .null
    case 8: self = .oneHost(ringID)
    case 0:
      throw Self.refusal(
        rawMode, reason: "the default mode belongs to the legacy interface",
        remedy: "set NR_REG_ALL_NIC (1) or another mode explicitly")
    case 5, 6:
      throw Self.refusal(
        rawMode, reason: "the pipe modes belong to the legacy interface",
        remedy: "name the pipe end, parent{id or parent}id, and set NR_REG_ALL_NIC (1)")
    default:
      throw Self.refusal(
        rawMode, reason: "unknown mode", remedy: "modes are 1, 2, 3, 4, 7 and 8, see netmap(4)")
    }
  }

  private static func refusal(_ rawMode: UInt32, reason: String, remedy: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "register", "nr_mode \(rawMode)", reason: reason, remedy: remedy)
  }

  /// The value of `nr_mode`.
  public var rawMode: UInt32 {
    switch self {
    case .allHardware: 1
    case .host: 2
    case .hardwareAndHost: 3
    case .oneHardware: 4
    case .null: 7
    case .oneHost: 8
    }
  }

  /// The value of `nr_ringid`: the ring number, or 0 when all rings of a kind are selected.
  public var ringID: UInt16 {
    switch self {
    case .oneHardware(let ring), .oneHost(let ring): ring
    case .allHardware, .host, .hardwareAndHost, .null: 0
    }
  }
}

extension RingSelection: CustomStringConvertible {
  /// The selection in words, for messages.
  public var description: String {
    switch self {
    case .allHardware: "all hardware rings"
    case .host: "host rings"
    case .hardwareAndHost: "hardware and host rings"
    case .oneHardware(let ring): "hardware ring \(ring)"
    case .oneHost(let ring): "host ring \(ring)"
    case .null: "null rings"
    }
  }
}

extension RingSelection {
  /// The limit of ring numbers in port specifications: libnetmap accepts numbers below its ring
  /// mask, 0x0fff.
  static let textLimit: UInt16 = 0x0fff

  /// The suffix that selects these rings in a port specification; empty if there is none.
  var suffix: String {
    switch self {
    case .allHardware, .null: ""
    case .host: "^"
    case .hardwareAndHost: "*"
    case .oneHardware(let ring): "-\(ring)"
    case .oneHost(let ring): "^\(ring)"
    }
  }
}
