/// The name of a port as a request carries it in `nr_name`.
///
/// Three shapes exist, see netmap(4):
/// - `eth0`: a network interface;
/// - `vale0:a`: port `a` of the switch `vale0`;
/// - `eth0{p` and `eth0}p`: the master and the slave end of the pipe `p` whose parent is `eth0`.
///   The parent may be any port, including another pipe end.
///
/// A name is 1 to ``byteCountMax`` bytes without NUL. Bytes that are not UTF-8 stay unchanged, and
/// names compare byte by byte as in the kernel, never as Unicode text.
///
/// The engine decides whether a port of that name exists or may be created.
public struct PortName: Hashable, Sendable, CustomStringConvertible {
  /// The length limit in bytes: `nr_name` is 64 bytes, including a terminating NUL.
  public static let byteCountMax = 63

  /// The bytes of the name, without a terminating NUL.
  public let bytes: [UInt8]

  /// Creates a name from text, without the `netmap:` of a ``PortSpecification``.
  ///
  /// - Throws: `NetmapError`, `EINVAL`, like ``init(bytes:)``.
  public init(_ text: String) throws(NetmapError) {
    try self.init(bytes: text.utf8)
  }

  /// Creates a name from bytes.
  ///
  /// - Parameter bytes: The name without its terminating NUL.
  /// - Throws: `NetmapError`, `EINVAL`, when the name is empty, longer than ``byteCountMax`` or
  ///   contains a NUL, or when a pipe end lacks its parent or its identifier.
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

  /// The name as text; ill-formed UTF-8 appears as U+FFFD, in which case only ``bytes`` is exact.
  public var rawValue: String {
    String(decoding: bytes, as: UTF8.self)
  }

  public var description: String { rawValue }

  /// Whether the port, or the port that a pipe end descends from, belongs to a VALE switch.
  ///
  /// netmap(4) reserves the prefix `vale` for switches; this property does not check the text after
  /// the prefix.
  public var isVale: Bool {
    bytes.starts(with: "vale".utf8)
  }
}

extension PortName {
  /// One end of a netmap pipe, without its parent.
  public struct Pipe: Hashable, Sendable {
    /// The end of the pipe; both ends carry data alike, the role only affects the meaning of ring
    /// counts.
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

    /// The end of the pipe.
    public let role: Role

    /// The bytes of the identifier: at least one, compared byte by byte.
    public let idBytes: [UInt8]

    /// The identifier as text; ill-formed UTF-8 appears as U+FFFD.
    public var id: String {
      String(decoding: idBytes, as: UTF8.self)
    }
  }

  /// The pipe end that the name denotes; nil for any other port.
  ///
  /// The last `{` separates parent and identifier, or, if there is none, the last `}`: `a}b{c` is
  /// the master end of pipe `c` of the port `a}b`.
  public var pipe: Pipe? {
    guard let bracket = Self.pipeBracket(in: bytes[...]) else { return nil }
    return Pipe(
      role: bytes[bracket] == PortText.masterBracket ? .master : .slave,
      idBytes: [UInt8](bytes[(bracket + 1)...]))
  }

  /// The parent of a pipe end; the name itself for any other port.
  public var base: PortName {
    guard let bracket = Self.pipeBracket(in: bytes[...]) else { return self }
    return PortName(unchecked: [UInt8](bytes[..<bracket]))
  }

  /// The name of one end of the pipe `id` whose parent has this name.
  ///
  /// - Parameters:
  ///   - role: The end of the pipe.
  ///   - id: The identifier that both ends share. A ``PortSpecification`` needs no quotes for an
  ///     identifier of letters, digits and `_`.
  /// - Returns: The name of that end.
  /// - Throws: `NetmapError`, `EINVAL`, when the result is not a valid name or denotes another
  ///   pipe, because of brackets in `id` or in this name.
  public func appendingPipe(_ role: Pipe.Role, id: String) throws(NetmapError) -> PortName {
    let pipe = Pipe(role: role, idBytes: [UInt8](id.utf8))
    let name = try PortName(bytes: bytes + [role.bracket] + pipe.idBytes)
    guard name.pipe == pipe else {
      throw NetmapError(
        .invalidArgument, "parse", PortText.printable(name.bytes),
        reason:
          "it parses as pipe '\(name.pipe?.id ?? "")' of \(name.base), not '\(id)' of \(self)",
        remedy:
          "choose a pipe identifier without '{' and '}', and append no slave end to a master end")
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
    // Check the parents as well, so that `base` cannot fail later.
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
