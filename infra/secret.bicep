// Puts one secret into the vault from outside its network: the control plane writes it, nobody reads it back.
//   az deployment group create -g GROUP -f infra/secret.bicep -p vaultName=VAULT name=webhook-signing-key value="$(openssl rand -base64 48)"

@description('Vault.')
param vaultName string
@description('Name of the secret.')
param name string
@description('Value of the secret.')
@secure()
param value string

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: name
  properties: { value: value }
}
