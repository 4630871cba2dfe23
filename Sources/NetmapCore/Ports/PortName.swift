/// The name of a port as netmap itself knows it: what a request carries in `nr_name`.
///
/// Three shapes exist, see netmap(4):
/// - `eth0`: a network interface;
/// - `vale0:a`: port `a` of the switch `vale0`;
/// - `eth0{p` and `eth0}p`: the master and the slave end of the pipe `p` whose parent is `eth0`.
///   The parent may be any port, another pipe end included.
///
/// A name is 1 to ``byteCountMax`` bytes without NUL. Bytes that are not UTF-8 are kept as they
/// are, and names are compared byte by byte as the kernel does, never as Unicode text.
///
/// Whether a port of that name exists, or may be created, is for the engine to say.
public struct PortName: Hashable, Sendable, CustomStringConvertible {
  /// The length limit in bytes: `nr_name` is 64 bytes, the last one a NUL.
  public static let byteCountMax = 63

  /// The bytes of the name, without a terminating NUL.
  public let bytes: [UInt8]

  /// Takes `text` as a name, without the `netmap:` of a ``PortSpecification``.
  ///
  /// - Throws: `NetmapError`, `EINVAL`, as ``init(bytes:)``.
  public init(_ text: String) throws(NetmapError) {
    try self.init(bytes: text.utf8)
  }

  /// Takes `bytes` as a name.
  ///
  /// - Parameter bytes: The name without its terminating NUL.
  /// - Throws: `NetmapError`, `EINVAL`, when the name is empty, longer than ``byteCountMax`` or
  ///   holds a NUL, or when a pipe end lacks its parent or its identifier.
  public init(bytes: some Collection<UInt8>) throws(NetmapError) {
    let bytes = [UInt8](bytes)
    if let (reason, remedy) = Self.fault(in: bytes) {
      let subject = bytes.isEmpty ? "''" : PortText.printable(bytes)
      throw NetmapError(.invalidArgument, "parse", subject, reason: reason, remedy: remedy)
    }
    self.init(unchecked: bytes)
  }

  private init(unchecked bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// The name as text; ill-formed UTF-8 is shown with U+FFFD, only ``bytes`` is exact then.
  public var rawValue: String {
    String(decoding: bytes, as: UTF8.self)
  }

  public var description: String { rawValue }

  /// Whether the port, or the port a pipe end descends from, belongs to a VALE switch.
  ///
  /// netmap(4) reserves the prefix `vale` for switches; what follows it is not checked here.
  public var isVale: Bool {
    bytes.starts(with: "vale".utf8)
  }
}

extension PortName {
  /// One end of a netmap pipe, without its parent.
  public struct Pipe: Hashable, Sendable {
    /// Which end; the two carry data alike, the role decides only how ring counts are read.
    public enum Role: Hashable, Sendable, CaseIterable {
      /// Written `{`.
      case master
      /// Written `}`.
      case slave

      /// The role of the other end.
      public var opposite: Role {
        self == .master ? .slave : .master
      }

      var bracket: UInt8 {
        self == .master ? PortText.masterBracket : PortText.slaveBracket
      }
    }

    /// Which end it is.
    public let role: Role

    /// The bytes of the identifier: at least one, compared as they are.
    public let idBytes: [UInt8]

    /// The identifier as text; ill-formed UTF-8 is shown with U+FFFD.
    public var id: String {
      String(decoding: idBytes, as: UTF8.self)
    }
  }

  /// The pipe end that the name denotes; nil for any other port.
  ///
  /// The last `{` divides parent and identifier, or else the last `}`: `a}b{c` is the master end of
  /// pipe `c` of the port `a}b`.
  public var pipe: Pipe? {
    guard let bracket = Self.pipeBracket(in: bytes[...]) else { return nil }
    return Pipe(
      role: bytes[bracket] == PortText.masterBracket ? .master : .slave,
      idBytes: [UInt8](bytes[(bracket + 1)...]))
  }

  /// The parent of a pipe end; the name itself when it denotes no pipe.
  public var base: PortName {
    guard let bracket = Self.pipeBracket(in: bytes[...]) else { return self }
    return PortName(unchecked: [UInt8](bytes[..<bracket]))
  }

  /// The name of one end of the pipe `id` whose parent has this name.
  ///
  /// - Parameters:
  ///   - role: Which end to name.
  ///   - id: The identifier both ends share. Letters, digits and `_` can also be written in a
  ///     ``PortSpecification`` without quotes.
  /// - Returns: The name of that end.
  /// - Throws: `NetmapError`, `EINVAL`, when the whole is no valid name or when it would read as
  ///   another pipe, because brackets in `id` or in this name are taken first.
  public func appendingPipe(_ role: Pipe.Role, id: String) throws(NetmapError) -> PortName {
    let pipe = Pipe(role: role, idBytes: [UInt8](id.utf8))
    let name = try PortName(bytes: bytes + [role.bracket] + pipe.idBytes)
    guard name.pipe == pipe else {
      throw NetmapError(
        .invalidArgument, "parse", PortText.printable(name.bytes),
        reason: "it reads as pipe '\(name.pipe?.id ?? "")' of \(name.base), not '\(id)' of \(self)",
        remedy: "choose a pipe identifier without '{' and '}', and no slave of a master end")
    }
    return name
  }

  private static func pipeBracket(in name: ArraySlice<UInt8>) -> Int? {
    name.lastIndex(of: PortText.masterBracket) ?? name.lastIndex(of: PortText.slaveBracket)
  }

  private static func fault(in bytes: [UInt8]) -> (reason: String, remedy: String)? {
    if bytes.isEmpty {
      return ("invalid empty port name", "name an interface (eth0) or a switch port (vale0:a)")
    }
    if bytes.count > byteCountMax {
      let name = PortText.printable(bytes)
      return (
        "name '\(name)' too long: \(bytes.count) bytes",
        "a port name has at most \(byteCountMax) bytes"
      )
    }
    if bytes.contains(0) {
      return ("the name contains a NUL byte", "port names end at the first NUL; remove it")
    }
    // Parents are checked as well, so that `base` cannot fail later.
    var rest = bytes[...]
    while let bracket = pipeBracket(in: rest) {
      let text = PortText.printable(rest)
      let remedy = "name a pipe end parent{id or parent}id"
      if bracket == rest.startIndex { return ("pipe '\(text)' has no parent port", remedy) }
      if bracket == rest.endIndex - 1 { return ("invalid empty pipe name in '\(text)'", remedy) }
      rest = rest[..<bracket]
    }
    return nil
  }
}
