extension PortSpecification {
  /// The user's own memory for rings and buffers: the `extmem` option.
  ///
  /// Objects lie in the mapped file as netmap(4) describes. The engine rejects a file that is too
  /// small when it binds the port, not here.
  public struct ExternalMemory: Hashable, Sendable {
    /// The number and the size of a pool's objects; 0 selects netmap's default.
    public struct Pool: Hashable, Sendable {
      /// The number of objects in the pool.
      public let count: UInt32
      /// The size of each object in bytes.
      public let size: UInt32

      /// A pool of `count` objects of `size` bytes.
      public init(count: UInt32 = 0, size: UInt32 = 0) {
        self.count = count
        self.size = size
      }
    }

    /// The path of the file to map.
    public let file: String
    /// The pool of port descriptions (`netmap_if`), keys `if-num` and `if-size`.
    public let interfaces: Pool
    /// The pool of rings, keys `ring-num` and `ring-size`.
    public let rings: Pool
    /// The pool of buffers, keys `buf-num` and `buf-size`.
    public let buffers: Pool

    /// Memory in `file`.
    ///
    /// - Parameters:
    ///   - file: The path to map. It cannot contain `@`, which begins the next option, nor `,` if a
    ///     pool is described as well.
    ///   - interfaces: Pool of port descriptions.
    ///   - rings: Pool of rings.
    ///   - buffers: Pool of buffers.
    /// - Throws: `NetmapError`, `EINVAL`, for a path that is empty, contains a NUL, or cannot be
    ///   written in a port specification.
    public init(
      file: String, interfaces: Pool = Pool(), rings: Pool = Pool(), buffers: Pool = Pool()
    ) throws(NetmapError) {
      self.file = file
      self.interfaces = interfaces
      self.rings = rings
      self.buffers = buffers
      let reason: String
      if file.isEmpty {
        reason = "missing file name"
      } else if file.utf8.contains(0) {
        reason = "the file name contains a NUL byte"
      } else if file.utf8.contains(UInt8(ascii: "@")) {
        reason = "the file name contains '@', which begins the next option"
      } else if file.utf8.contains(UInt8(ascii: ",")), pairs.count > 1 {
        reason = "the file name contains ',', which ends the name when sizes follow"
      } else {
        return
      }
      throw NetmapError(
        .invalidArgument, "parse", "extmem '\(PortText.printable(file.utf8))'", reason: reason,
        remedy: "give the file another path, for example a symbolic link")
    }

    var pairs: [PortOptionPair] {
      [
        PortOptionPair(.file, file),
        PortOptionPair(.ifNum, nonzero: interfaces.count),
        PortOptionPair(.ifSize, nonzero: interfaces.size),
        PortOptionPair(.ringNum, nonzero: rings.count),
        PortOptionPair(.ringSize, nonzero: rings.size),
        PortOptionPair(.bufNum, nonzero: buffers.count),
        PortOptionPair(.bufSize, nonzero: buffers.size),
      ].compactMap(\.self)
    }
  }

  /// The offset at which packets begin in their buffers: the `offset` option.
  public struct PayloadOffset: Hashable, Sendable {
    /// The widest offset field: the whole `ptr` of a slot.
    static let bitCountMax: UInt8 = 64

    /// The initial offset of every slot, in bytes; also the largest offset that the application
    /// promises to use.
    public let initial: UInt32
    /// The number of bits of a slot's `ptr` that hold the offset, 0...64; 0 means all of them.
    public let bits: UInt8

    /// An offset of `initial` bytes.
    ///
    /// - Parameters:
    ///   - initial: Bytes in front of the packet; must be within the buffer size of the port.
    ///   - bits: Width of the offset field; 0 selects all bits.
    /// - Throws: `NetmapError`, `EINVAL`, when `bits` is above 64.
    public init(initial: UInt32, bits: UInt8 = 0) throws(NetmapError) {
      guard bits <= Self.bitCountMax else {
        throw NetmapError(
          .invalidArgument, "parse", "offset bits \(bits)",
          reason: "'\(bits)' out of range [0, \(Self.bitCountMax + 1))",
          remedy: "use at most \(Self.bitCountMax) bits, the size of a slot's ptr")
      }
      self.initial = initial
      self.bits = bits
    }

    var pairs: [PortOptionPair] {
      [PortOptionPair(.initial, "\(initial)"), PortOptionPair(.bits, nonzero: bits)]
        .compactMap(\.self)
    }
  }

  /// The backend that must carry the packets of a network interface: the `backend` option.
  ///
  /// A nil property is chosen automatically. The engine learns only when it binds the interface
  /// whether the interface supports the request. An addition of this implementation to libnetmap's
  /// options.
  public struct BackendChoice: Hashable, Sendable {
    /// The ways in which packets can reach an interface, with the words that select them.
    public enum Name: String, Hashable, Sendable, CaseIterable {
      /// AF_XDP sockets.
      case xdp
      /// Redirection at the traffic-control hook, for interfaces whose driver has no XDP support.
      case capture
      /// Packet sockets with TPACKET_V3 rings.
      case packet
      /// The netmap kernel module, when it is loaded.
      case netmap
    }

    /// The role of an interface's driver in AF_XDP.
    public enum Mode: String, Hashable, Sendable, CaseIterable {
      /// The driver works directly in the port's buffers.
      case zerocopy
      /// The driver runs the XDP program, and the kernel copies packets.
      case copy
      /// The kernel runs the XDP program on behalf of the driver.
      case generic
    }

    /// The requested backend; nil for any.
    public let name: Name?
    /// The requested mode; nil for the best possible one.
    public let mode: Mode?

    /// Requests a backend, in its best mode or in exactly `mode`.
    public init(_ name: Name, mode: Mode? = nil) {
      self.name = name
      self.mode = mode
    }

    /// Requests any backend that supports `mode`.
    public init(mode: Mode) {
      self.name = nil
      self.mode = mode
    }

    var pairs: [PortOptionPair] {
      [
        name.map { PortOptionPair(.name, $0.rawValue) },
        mode.map { PortOptionPair(.mode, $0.rawValue) },
      ].compactMap(\.self)
    }
  }
}
