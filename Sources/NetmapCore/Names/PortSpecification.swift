/// A parsed port specification: the port to open, its rings, the binding mode and the memory.
///
/// A port specification is the text that netmap programs accept on their command line, see
/// "portspec" in libnetmap:
///
/// ```
/// netmap:eth0              all hardware rings of eth0
/// netmap:eth0-2/x@3        hardware ring pair 2, exclusively, in memory region 3
/// netmap:eth0^  netmap:eth0^1  netmap:eth0*      host rings; one host pair; hardware and host
/// vale0:a                  port a of the switch vale0
/// netmap:eth0{p            master end of the pipe p; } names the slave end
/// vale0:a@conf:rings=4,slots=512@share=netmap:eth0
/// netmap:'br-lan'          a name that contains - * ^ / @ or other special characters
/// ```
///
/// A name between quotes is taken literally; a quote inside it is written twice. Mode and options
/// follow the closing quote. Quotes are an addition to libnetmap's grammar.
///
/// Parsing checks only the syntax; it queries nothing from the system.
public struct PortSpecification: Hashable, Sendable {
  /// The port, without `netmap:`.
  public var name: PortName

  /// The rings to bind.
  public var selection: RingSelection

  /// The binding mode.
  public var flags: BindingFlags

  /// The memory region to use, 1...65535; nil when netmap chooses.
  ///
  /// netmap(4) uses region 0 for "no choice"; this property stores it as nil.
  public var memoryID: UInt16? {
    didSet { memoryID = Self.normalized(memoryID) }
  }

  /// The port whose memory region to use: the `share` option.
  public var sharedPort: PortName?

  /// Requested ring counts and sizes.
  public var conf: RingGeometryHints

  /// Memory to use instead of netmap's own.
  public var extmem: ExternalMemory?

  /// The offset at which packets begin in their buffers.
  public var offset: PayloadOffset?

  /// The requested backend.
  public var backend: BackendChoice?

  /// Whether senders on a switch keep packets that do not fit in the port's rings, instead of
  /// dropping them.
  public var backpressure = false

  /// Whether the process gets separate memory, and the engine carries the packets: for processes that
  /// must not trust the other programs on the port. Written as the flag `i`.
  public var isIsolated = false

  /// Creates a specification: by default, all hardware rings of `name`, shared with other bindings.
  public init(
    _ name: PortName, selection: RingSelection = .allHardware, flags: BindingFlags = [],
    memoryID: UInt16? = nil, sharedPort: PortName? = nil, conf: RingGeometryHints = .none,
    extmem: ExternalMemory? = nil, offset: PayloadOffset? = nil, backend: BackendChoice? = nil,
    backpressure: Bool = false, isIsolated: Bool = false
  ) {
    self.name = name
    self.selection = selection
    self.flags = flags
    self.memoryID = Self.normalized(memoryID)
    self.sharedPort = sharedPort
    self.conf = conf
    self.extmem = extmem
    self.offset = offset
    self.backend = backend
    self.backpressure = backpressure
    self.isIsolated = isIsolated
  }

  private static func normalized(_ memoryID: UInt16?) -> UInt16? {
    memoryID == 0 ? nil : memoryID
  }

  /// The value of the `share` option, itself a port specification; nil when the option is absent.
  public var share: String? {
    sharedPort.map { PortSpecification($0).description }
  }
}

extension PortSpecification {
  /// Whether `text` begins like a port specification: with `vale`, or with `netmap`, optional
  /// identifier characters and a `:`.
  ///
  /// Other text may be an interface name, a file or another program's input, so a caller can try
  /// something else; ``parse(_:enabling:disabling:interfaceExists:)`` rejects it. Text with such a
  /// beginning is intended for netmap, even if the rest is malformed.
  public static func isPortSpecification(_ text: String) -> Bool {
    if text.utf8.starts(with: "vale".utf8) { return true }
    guard text.utf8.starts(with: "netmap".utf8) else { return false }
    let rest = text.utf8.dropFirst("netmap".utf8.count)
    return rest.first { !PortText.isIdentifierByte($0) } == UInt8(ascii: ":")
  }

  /// Parses a port specification.
  ///
  /// An interface name may contain `-`, which also introduces a ring number. libnetmap always reads
  /// a ring number. Here `interfaceExists` decides: if the text before the last `-N` is not an
  /// interface and the whole text is, the whole text is the name. With the default closure the
  /// result is libnetmap's.
  ///
  /// - Parameters:
  ///   - text: The specification, for example `netmap:eth0-1/x@conf:slots=512`.
  ///   - enabling: Options to accept besides `PortOption.standard`.
  ///   - disabling: Options to reject with `EOPNOTSUPP`.
  ///   - interfaceExists: Whether the system has a network interface of that name; called only for
  ///     names that contain `-`.
  /// - Returns: The parsed specification.
  /// - Throws: `NetmapError` about the whole text: `EOPNOTSUPP` for a disabled option, `EINVAL` for
  ///   anything else.
  public static func parse(
    _ text: String, enabling: Set<PortOption> = [], disabling: Set<PortOption> = [],
    interfaceExists: (String) -> Bool = { _ in false }
  ) throws(NetmapError) -> PortSpecification {
    try parse(
      bytes: text.utf8, enabling: enabling, disabling: disabling, interfaceExists: interfaceExists)
  }

  /// Parses a port specification that may not be UTF-8, such as an argument of a C program.
  ///
  /// - Parameters:
  ///   - bytes: The specification, without a terminating NUL. Port names keep bytes of 0x80 and
  ///     above as they are; the file name of `extmem` must be UTF-8.
  ///   - enabling: Options to accept besides `PortOption.standard`.
  ///   - disabling: Options to reject with `EOPNOTSUPP`.
  ///   - interfaceExists: As in ``parse(_:enabling:disabling:interfaceExists:)``.
  /// - Returns: The parsed specification.
  /// - Throws: `NetmapError` about the whole text: `EOPNOTSUPP` for a disabled option, `EINVAL` for
  ///   anything else.
  public static func parse(
    bytes: some Collection<UInt8>, enabling: Set<PortOption> = [],
    disabling: Set<PortOption> = [], interfaceExists: (String) -> Bool = { _ in false }
  ) throws(NetmapError) -> PortSpecification {
    let accepted = PortOption.standard.union(enabling).subtracting(disabling)
    var parser = PortSpecificationParser([UInt8](bytes), accepting: accepted)
    return try parser.parse(interfaceExists: interfaceExists)
  }
}
