extension PortSpecification {
  /// Memory of the user's own to put rings and buffers in: the `extmem` option.
  ///
  /// Objects are laid out in the mapped file as netmap(4) describes; a file too small for them is
  /// refused when the port is bound, not here.
  public struct ExternalMemory: Hashable, Sendable {
    /// How many objects a pool holds and how large each is; 0 takes netmap's default.
    public struct Pool: Hashable, Sendable {
      /// Objects in the pool.
      public let count: UInt32
      /// Bytes of each object.
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
    ///   - file: The path to map. It cannot hold `@`, where the next option would begin; nor `,`
    ///     when a pool is described as well.
    ///   - interfaces: Pool of port descriptions.
    ///   - rings: Pool of rings.
    ///   - buffers: Pool of buffers.
    /// - Throws: `NetmapError`, `EINVAL`, for a path that is empty, holds a NUL, or could not be
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
        reason = "the file name contains ',', which ends it when sizes follow"
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

  /// Where packets begin in their buffers: the `offset` option.
  public struct PayloadOffset: Hashable, Sendable {
    /// The widest offset field: the whole `ptr` of a slot.
    static let bitCountMax: UInt8 = 64

    /// The offset written into every slot at first, in bytes; it is also the largest one the
    /// application promises to use.
    public let initial: UInt32
    /// How many bits of a slot's `ptr` hold the offset, 0...64; 0 means all of them.
    public let bits: UInt8

    /// An offset of `initial` bytes.
    ///
    /// - Parameters:
    ///   - initial: Bytes in front of the packet; must be within the buffer size of the port.
    ///   - bits: Width of the offset field; 0 takes the whole of it.
    /// - Throws: `NetmapError`, `EINVAL`, when `bits` is above 64.
    public init(initial: UInt32, bits: UInt8 = 0) throws(NetmapError) {
      guard bits <= Self.bitCountMax else {
        throw NetmapError(
          .invalidArgument, "parse", "offset bits \(bits)",
          reason: "'\(bits)' out of range [0, \(Self.bitCountMax + 1))",
          remedy: "the offset lives in the \(Self.bitCountMax) bits of a slot's ptr")
      }
      self.initial = initial
      self.bits = bits
    }

    var pairs: [PortOptionPair] {
      [PortOptionPair(.initial, "\(initial)"), PortOptionPair(.bits, nonzero: bits)]
        .compactMap(\.self)
    }
  }

  /// Which backend must carry the packets of a network interface: the `backend` option.
  ///
  /// Whatever is nil is chosen automatically. Whether the interface can do what is asked for is
  /// known only when it is bound. An addition of this implementation to libnetmap's options.
  public struct BackendChoice: Hashable, Sendable {
    /// The ways in which packets can reach an interface, by the words that select them.
    public enum Name: String, Hashable, Sendable, CaseIterable {
      /// AF_XDP sockets.
      case xdp
      /// Redirection at the traffic-control hook, for interfaces without XDP of their own.
      case capture
      /// Packet sockets with TPACKET_V3 rings.
      case packet
      /// The netmap kernel module, when it is loaded.
      case netmap
    }

    /// How the driver of an interface takes part in AF_XDP.
    public enum Mode: String, Hashable, Sendable, CaseIterable {
      /// The driver works in the buffers of the port.
      case zerocopy
      /// The driver runs the XDP program, and packets are copied.
      case copy
      /// The kernel runs the XDP program on behalf of the driver.
      case generic
    }

    /// The backend asked for; nil when any will do.
    public let name: Name?
    /// The mode asked for; nil when the best possible one is.
    public let mode: Mode?

    /// A backend, in the best mode it can do or in exactly `mode`.
    public init(_ name: Name, mode: Mode? = nil) {
      self.name = name
      self.mode = mode
    }

    /// Whichever backend can do `mode`.
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
