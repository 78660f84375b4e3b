"""A variational autoencoder of handwritten digits, in the manner of PyTorch's example."""

import argparse

from sklearn.datasets import load_digits
from tqdm import tqdm

import tilegrad as torch
from tilegrad import nn, optim
from tilegrad.nn import functional as F
from tilegrad.utils.data import DataLoader, TensorDataset


class VAE(nn.Module):
    def __init__(self, hidden=256, latent=10):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(64, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


# Reconstruction + KL divergence losses summed over all elements and batch
def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    # 0.5 * sum(1 + log(sigma^2) - mu^2 - sigma^2): Kingma and Welling, appendix B
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def save_image(images, path, nrow=16):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = images.view(-1, nrow, 8, 8).permute(0, 2, 1, 3).reshape(-1, nrow * 8)
    plt.imsave(
        path, rows.cpu().repeat_interleave(6, 0).repeat_interleave(6, 1).numpy(), cmap="Greys"
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", default="vae.png")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    images = torch.tensor(load_digits().images / 16, dtype=torch.float32)
    train_loader = DataLoader(TensorDataset(images), batch_size=args.batch_size, shuffle=True)

    model = VAE().to(device)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    progress = tqdm(range(1, args.epochs + 1), desc="vae", unit="epoch", disable=None)
    for _ in progress:
        model.train()
        train_loss = 0
        for (data,) in train_loader:
            data = data.to(device)
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            losses.append(loss.item() / len(data))
            optimizer.step()
        progress.set_postfix(loss=train_loss / len(images))
    print(
        f"loss {losses[0]:.2f} -> {train_loss / len(images):.2f} a digit; drawn at random: {args.picture}"
    )

    model.eval()
    with torch.no_grad():
        sample = torch.randn(128, 10).to(device)
        save_image(model.decode(sample), args.picture)
    return losses


if __name__ == "__main__":
    main()
